//! Records that are gone before they were read, and topics that are.

use std::time::Duration;

use super::*;

/// Reads until the table has an error or ends, however long it takes.
async fn read_to_the_end(reader: &mut dyn SplitReader) -> Result<Vec<i64>, ConnectorError> {
    let mut all = Vec::new();
    loop {
        let given = read_on(reader).await?;
        all.extend(given.numbers());
        if given.has_ended {
            return Ok(all);
        }
    }
}

fn on_loss(rule: &'static str) -> [(&'static str, &'static str); 2] {
    [("topic", "t"), ("scan.on-data-loss", rule)]
}

#[tokio::test(start_paused = true)]
async fn what_retention_has_taken_is_an_error_or_skipped() {
    let mut world = World::new();
    world.topic("t", 1).await;
    world.put("t", 0, 0..10).await;
    let splits = splits(world.table(&on_loss("fail")).as_ref()).await;
    world.kafka.delete_records(&at("t", 0), 7).expect("deleted");
    let table = world.table(&on_loss("fail"));
    let error = read_on(open(table.as_ref(), &splits[0]).await.as_mut()).await.map(drop).expect_err("they are gone");
    assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Data);
    let error = error.to_string();
    for part in ["read t-0 from offset 0", "kept is 7, so 7 are lost", "'scan.on-data-loss' = 'skip'"] {
        assert!(error.contains(part), "{error}");
    }
    world.next_attempt();
    let table = world.table(&on_loss("skip"));
    let mut reader = open(table.as_ref(), &splits[0]).await;
    assert_eq!(read_on(reader.as_mut()).await.expect("read").numbers(), [7, 8, 9]);
    assert_eq!(place(&reader.position()).1, 10);
}

#[tokio::test(start_paused = true)]
async fn retention_may_pass_a_table_s_end() {
    let world = World::new();
    world.topic("t", 1).await;
    world.put("t", 0, 0..10).await;
    let options = [&on_loss("skip")[..], &[("scan.bounded.mode", "latest-offset")]].concat();
    let table = world.table(&options);
    let splits = splits(table.as_ref()).await;
    world.put("t", 0, 10..20).await;
    world.kafka.delete_records(&at("t", 0), 15).expect("deleted");
    let read = read_to_the_end(open(table.as_ref(), &splits[0]).await.as_mut()).await.expect("read");
    assert!(read.is_empty(), "{read:?}");
}

/// A log that was cut back at its end, as by a leader that had not all.
#[tokio::test(start_paused = true)]
async fn a_position_behind_the_end_is_an_error_or_skipped() {
    let mut world = World::new();
    world.topic("t", 1).await;
    world.put("t", 0, 0..5).await;
    let before = world.kafka.snapshot();
    world.put("t", 0, 5..8).await;
    let table = world.table(&on_loss("fail"));
    let mut reader = open(table.as_ref(), &splits(table.as_ref()).await[0]).await;
    read_on(reader.as_mut()).await.expect("read");
    let split = reader.position();
    drop((reader, table));
    world.kafka.restore(&before);
    world.next_attempt();
    let table = world.table(&on_loss("fail"));
    let error = read_on(open(table.as_ref(), &split).await.as_mut()).await.map(drop).expect_err("it is behind the end");
    assert!(error.to_string().contains("read t-0 from offset 8: its log was cut back to 5"), "{error}");
    world.next_attempt();
    let table = world.table(&on_loss("skip"));
    let mut reader = open(table.as_ref(), &split).await;
    read_on(reader.as_mut()).await.expect("it goes on");
    world.put("t", 0, [50]).await;
    assert_eq!(read_on(reader.as_mut()).await.expect("read").numbers(), [50]);
}

/// By a leader that did not have all, while the table is read and while no job runs. As many records or more stand behind the position again, so that
/// nobody sees it by offsets. Those of a transaction are followed by its end, behind which the position is.
#[tokio::test(start_paused = true)]
async fn a_log_that_was_cut_back_is_an_error_or_read_from_there() {
    for (rule, is_running, is_transaction) in
        [("fail", true, false), ("fail", false, true), ("skip", true, true), ("skip", false, false)]
    {
        let mut world = World::new();
        world.topic("t", 1).await;
        match is_transaction {
            true => world.transact("t", 0..5, true).await,
            false => world.put("t", 0, 0..5).await,
        }
        let table = world.table(&on_loss(rule));
        let mut reader = open(table.as_ref(), &splits(table.as_ref()).await[0]).await;
        assert_eq!(read_on(reader.as_mut()).await.expect("read").numbers(), [0, 1, 2, 3, 4]);
        let split = reader.position();
        world.kafka.elect_unclean(&at("t", 0), 2).expect("it is there");
        world.put("t", 0, 100..110).await;
        if !is_running {
            drop(reader);
            world.next_attempt();
            reader = open(world.table(&on_loss(rule)).as_ref(), &split).await;
        }
        match rule {
            "fail" => {
                let error = read_on(reader.as_mut()).await.map(drop).expect_err("two records are not there any more");
                assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Data);
                assert!(error.to_string().contains("its log was cut back to 2"), "{error}");
            }
            _ => {
                let mut numbers = Vec::new();
                while numbers.len() < 10 {
                    numbers.extend(read_on(reader.as_mut()).await.expect("read").numbers());
                }
                assert_eq!(numbers, (100..110).collect::<Vec<_>>());
            }
        }
    }
}

/// What former releases have written has no epoch.
#[tokio::test(start_paused = true)]
async fn a_position_without_an_epoch_is_gone_on_from() {
    let mut world = World::new();
    world.topic("t", 1).await;
    world.put("t", 0, 0..5).await;
    let table = world.table(&on_loss("fail"));
    let mut reader = open(table.as_ref(), &splits(table.as_ref()).await[0]).await;
    read_on(reader.as_mut()).await.expect("read");
    let mut split = reader.position();
    let payload = split.payload.as_object_mut().expect("an object");
    assert!(payload.remove("last_read").is_some(), "it is there now");
    drop((reader, table));
    world.put("t", 0, 5..8).await;
    world.next_attempt();
    let table = world.table(&on_loss("fail"));
    assert_eq!(read_on(open(table.as_ref(), &split).await.as_mut()).await.expect("read").numbers(), [5, 6, 7]);
}

/// The end of a transaction is no record: that it went by retention loses nothing.
#[tokio::test(start_paused = true)]
async fn what_is_no_record_may_go_by_retention() {
    let mut world = World::new();
    world.topic("t", 1).await;
    world.transact("t", 0..5, true).await;
    let table = world.table(&on_loss("fail"));
    let mut reader = open(table.as_ref(), &splits(table.as_ref()).await[0]).await;
    read_on(reader.as_mut()).await.expect("read");
    let split = reader.position();
    assert_eq!(place(&split).1, 6);
    drop((reader, table));
    world.put("t", 0, 5..8).await;
    world.kafka.delete_records(&at("t", 0), 6).expect("deleted");
    world.next_attempt();
    let table = world.table(&on_loss("fail"));
    assert_eq!(read_on(open(table.as_ref(), &split).await.as_mut()).await.expect("read").numbers(), [5, 6, 7]);
}

/// While it is read, and while no job runs. The new topic has more records than the old one had.
#[tokio::test(start_paused = true)]
async fn a_topic_that_was_made_anew_is_noticed() {
    for (rule, is_running) in [("fail", true), ("fail", false), ("skip", true), ("skip", false)] {
        let mut world = World::new();
        world.topic("t", 1).await;
        world.put("t", 0, 0..5).await;
        let table = world.table(&on_loss(rule));
        let looks = table.enumerator().expect("it finds partitions").interval().expect("again and again");
        assert_eq!(looks <= Duration::from_secs(10), rule == "skip", "the new topic is found soon");
        let known = list(table.as_ref(), Listing::First).await;
        let mut split = splits(table.as_ref()).await.remove(0);
        let mut reader = open(table.as_ref(), &split).await;
        assert_eq!(read_on(reader.as_mut()).await.expect("read").numbers(), [0, 1, 2, 3, 4]);
        split = reader.position();
        world.kafka.delete_topic("t");
        world.topic("t", 1).await;
        if !is_running {
            world.put("t", 0, 100..200).await;
            world.next_attempt();
        }
        let table = world.table(&on_loss(rule));
        if !is_running {
            reader = open(table.as_ref(), &split).await;
        }
        let read = read_to_the_end(reader.as_mut()).await;
        if rule == "fail" {
            let error = read.expect_err("it is another topic").to_string();
            for part in ["read t-0 from offset 5", "'t' was deleted and made anew", "from 5 on are lost"] {
                assert!(error.contains(part), "{error}");
            }
            continue;
        }
        assert_eq!(read.expect("it ends"), [0; 0], "nothing of the new topic by offsets of the old");
        if is_running {
            world.put("t", 0, 100..200).await;
        }
        let found: Vec<Piece> =
            list(table.as_ref(), Listing::Later).await.into_iter().filter(|piece| !known.contains(piece)).collect();
        let enumerator = table.enumerator().expect("it finds partitions");
        let cut = enumerator.cut(&found, Listing::Later).await.expect("cut").concat();
        // Its former reader may still be there.
        let mut anew = open(table.as_ref(), &cut[0]).await;
        drop(reader);
        assert_eq!(read_on(anew.as_mut()).await.expect("read").numbers(), (100..200).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_deleted_is_an_error_or_its_end() {
    for rule in ["fail", "skip"] {
        let world = World::new();
        world.topic("t", 1).await;
        world.put("t", 0, 0..5).await;
        let table = world.table(&on_loss(rule));
        let mut reader = open(table.as_ref(), &splits(table.as_ref()).await[0]).await;
        read_on(reader.as_mut()).await.expect("read");
        world.kafka.delete_topic("t");
        let read = tokio::time::timeout(Duration::from_secs(60), read_to_the_end(reader.as_mut())).await;
        let read = read.expect("it is noticed");
        match rule {
            "fail" => {
                let error = read.expect_err("it is gone").to_string();
                assert!(error.contains("topic 't' was deleted"), "{error}");
            }
            _ => assert_eq!(read.expect("it ends"), [0; 0]),
        }
    }
}

/// A topic that is gone for a moment only, as a broker tells that has just started, is read on.
#[tokio::test(start_paused = true)]
async fn one_answer_without_the_topic_loses_nothing() {
    let world = World::new();
    world.topic("t", 1).await;
    world.put("t", 0, 0..5).await;
    let table = world.table(&on_loss("fail"));
    let mut reader = open(table.as_ref(), &splits(table.as_ref()).await[0]).await;
    read_on(reader.as_mut()).await.expect("read");
    let there = world.kafka.snapshot();
    world.kafka.delete_topic("t");
    let read = tokio::time::timeout(Duration::from_secs(3), read_on(reader.as_mut())).await;
    assert!(!matches!(read, Ok(Err(_))), "{read:?}");
    world.kafka.restore(&there);
    world.put("t", 0, [5]).await;
    let mut numbers = Vec::new();
    while numbers.is_empty() {
        numbers = read_on(reader.as_mut()).await.expect("read").numbers();
    }
    assert_eq!(numbers, [5]);
}
