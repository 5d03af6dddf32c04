//! Where reading begins and ends.

use std::time::Duration;

use super::*;

/// Ten records a second apart, the first at 1,000 ms, and a partition without any.
async fn ten() -> World {
    let world = World::new();
    world.topic("t", 2).await;
    let timed =
        |n: i64| NewRecord { timestamp_ms: Some(n * 1000 + 1000), ..record("t", 0, &format!("{{\"n\": {n}}}")) };
    world.produce((0..10).map(timed).collect()).await;
    world
}

#[tokio::test(start_paused = true)]
async fn start_modes_become_offsets() {
    let world = ten().await;
    world.admin().commit_group_offsets("g", &[(at("t", 0), 4)].into()).await.expect("committed");
    let begin = async |mode: &str, more: &[(&str, &str)]| {
        let world = World { common: CommonTables::default(), consumers: Arc::default(), ..world_of(&world) };
        let options = [&[("topic", "t"), ("scan.startup.mode", mode)], more].concat();
        places(world.table(&options).as_ref()).await.into_iter().map(|(_, offset, _)| offset).collect::<Vec<_>>()
    };
    assert_eq!(begin("earliest-offset", &[]).await, [0, 0]);
    assert_eq!(begin("latest-offset", &[]).await, [10, 0]);
    let time = |millis| [("scan.startup.timestamp-millis", millis)];
    assert_eq!(begin("timestamp", &time("3500")).await, [3, 0]);
    assert_eq!(begin("timestamp", &time("99999")).await, [10, 0]);
    assert_eq!(begin("specific-offsets", &[("scan.startup.specific-offsets", "partition:0,offset:7")]).await, [7, 0]);
    let reset = [("properties.group.id", "g"), ("properties.auto.offset.reset", "latest")];
    assert_eq!(begin("group-offsets", &reset).await, [4, 0]);
}

fn world_of(world: &World) -> World {
    World {
        kafka: world.kafka.clone(),
        context: world.context.clone(),
        common: CommonTables::default(),
        consumers: world.consumers.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_without_an_offset_is_told_of() {
    let world = ten().await;
    for mode in ["scan.startup.mode", "scan.bounded.mode"] {
        let world = world_of(&world);
        let table = world.table(&[("topic", "t"), (mode, "group-offsets"), ("properties.group.id", "nobody")]);
        let error = try_splits(table.as_ref(), Listing::First).await.expect_err("there is no offset").to_string();
        assert!(error.contains("group 'nobody' has committed no offset of t-0"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_found_later_begins_at_its_beginning() {
    let world = ten().await;
    let table = world.table(&[("topic-pattern", "t|u.*"), ("scan.startup.mode", "latest-offset")]);
    let before = list(table.as_ref(), Listing::First).await;
    world.topic("u1", 1).await;
    world.topic("other", 1).await;
    world.kafka.grow_topic("t", 3).expect("grown");
    world.put("t", 2, [20, 21]).await;
    world.put("u1", 0, [30]).await;
    let new: Vec<Piece> =
        list(table.as_ref(), Listing::Later).await.into_iter().filter(|piece| !before.contains(piece)).collect();
    let enumerator = table.enumerator().expect("it finds partitions");
    assert_eq!(enumerator.interval(), Some(Duration::from_secs(300)));
    let cut = enumerator.cut(&new, Listing::Later).await.expect("cut").concat();
    let found: Vec<_> = cut.iter().map(place).collect();
    assert_eq!(found, [("t-2".to_owned(), 0, None), ("u1-0".to_owned(), 0, None)]);
    assert_eq!(read_all(table.as_ref(), &cut).await, [20, 21, 30]);
}

/// A broker that has just started may tell of former times.
#[tokio::test(start_paused = true)]
async fn the_first_listing_waits_until_all_is_there() {
    let world = ten().await;
    let table = world.table(&[("topic", "t;late"), ("scan.startup.mode", "latest-offset")]);
    let coming = async {
        tokio::time::sleep(Duration::from_secs(300)).await;
        world.topic("late", 1).await;
        world.put("late", 0, [1, 2, 3]).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        world.kafka.grow_topic("late", 2).expect("grown");
        world.put("late", 1, [4]).await;
    };
    let (found, ()) = tokio::join!(places(table.as_ref()), coming);
    let expected = [("late-0", 3), ("late-1", 1), ("t-0", 10), ("t-1", 0)];
    assert_eq!(found, expected.map(|(name, offset)| (name.to_owned(), offset, None)));
}

/// It would end without the records of a topic that nobody looks for again.
#[tokio::test(start_paused = true)]
async fn a_table_with_an_end_waits_for_its_topics_for_a_while() {
    let mut world = ten().await;
    let table = world.table(&[("topic", "t;late"), ("scan.bounded.mode", "latest-offset")]);
    let coming = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.topic("late", 1).await;
    };
    let (found, ()) = tokio::join!(places(table.as_ref()), coming);
    assert_eq!(found.len(), 3, "{found:?}");
    world.next_attempt();
    let table = world.table(&[("topic", "t;never"), ("scan.bounded.mode", "latest-offset")]);
    let listed = table.enumerator().expect("it finds partitions").list(Listing::First).await;
    let error = listed.expect_err("it is missing");
    assert_eq!(error.failure_kind(), thalweg_types::job::FailureKind::Data);
    assert!(error.to_string().contains("'never'") && error.to_string().contains("model:9092"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn several_topics_are_read() {
    let world = World::new();
    world.topic("a", 1).await;
    world.topic("b", 2).await;
    world.topic("c", 1).await;
    let table = world.table(&[("topic", "b;a")]);
    let found: Vec<String> = places(table.as_ref()).await.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(found, ["a-0", "b-0", "b-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_table_with_an_end_is_read_up_to_it() {
    let world = ten().await;
    world.admin().commit_group_offsets("g", &[(at("t", 0), 6), (at("t", 1), 0)].into()).await.expect("committed");
    for (mode, more, expected) in [
        ("latest-offset", ("topic", "t"), 0..10),
        ("group-offsets", ("properties.group.id", "g"), 0..6),
        ("timestamp", ("scan.bounded.timestamp-millis", "5000"), 0..4),
        ("specific-offsets", ("scan.bounded.specific-offsets", "partition:0,offset:3"), 0..3),
    ] {
        let world = world_of(&world);
        let snapshot = world.kafka.snapshot();
        let options: &[(&str, &str)] = &[("topic", "t"), ("scan.bounded.mode", mode), more];
        let table = world.table(if more.0 == "topic" { &options[..2] } else { options });
        assert_eq!(table.enumerator().and_then(|enumerator| enumerator.interval()), None, "it is looked at once");
        let splits = splits(table.as_ref()).await;
        world.put("t", 0, [100, 101]).await;
        world.put("t", 1, [102]).await;
        let mut all = Vec::new();
        for split in &splits {
            let given = read_on(open(table.as_ref(), split).await.as_mut()).await.expect("read");
            assert!(given.has_ended, "{mode}");
            all.extend(given.numbers());
        }
        assert_eq!(all, expected.collect::<Vec<_>>(), "{mode}");
        assert_eq!(splits.len(), if mode == "specific-offsets" { 1 } else { 2 }, "what is left out is not read");
        world.kafka.restore(&snapshot);
    }
}

/// The marks at the ends of transactions have offsets and are no records.
#[tokio::test(start_paused = true)]
async fn an_end_behind_what_is_no_record_is_reached() {
    let world = World::new();
    world.topic("t", 1).await;
    world.transact("t", [1, 2], true).await;
    world.transact("t", [3], false).await;
    let table = world.table(&[("topic", "t"), ("scan.bounded.mode", "latest-offset")]);
    let splits = splits(table.as_ref()).await;
    assert_eq!(place(&splits[0]).2, Some(5), "two records and a mark, one and a mark");
    let mut reader = open(table.as_ref(), &splits[0]).await;
    let given = read_on(reader.as_mut()).await.expect("read");
    assert_eq!((given.numbers(), given.has_ended), (vec![1, 2], true));
    assert_eq!(place(&reader.position()).1, 5);
}

/// A commit is answered before its marks are there. Who reads then what was written misses nothing.
#[tokio::test(start_paused = true)]
async fn what_is_committed_is_before_the_end_even_if_its_marks_come_later() {
    let world = World::new();
    world.topic("t", 1).await;
    world.kafka.delay_marks(Duration::from_secs(5));
    for (numbers, is_committed) in [([1, 2], true), ([3, 4], false), ([5, 6], true)] {
        world.transact("t", numbers, is_committed).await;
    }
    let table = world.table(&[("topic", "t"), ("scan.bounded.mode", "latest-offset")]);
    let splits = splits(table.as_ref()).await;
    let (mut reader, mut all) = (open(table.as_ref(), &splits[0]).await, Vec::new());
    let has_ended = async {
        loop {
            let given = read_on(reader.as_mut()).await.expect("read");
            all.extend(given.numbers());
            if given.has_ended {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), has_ended).await.expect("it ends");
    assert_eq!(all, [1, 2, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_without_records_ends_at_once() {
    let world = World::new();
    world.topic("t", 1).await;
    let table = world.table(&[("topic", "t"), ("scan.bounded.mode", "latest-offset")]);
    let given = read_on(open(table.as_ref(), &splits(table.as_ref()).await[0]).await.as_mut()).await.expect("read");
    assert!(given.has_ended && given.batches.is_empty());
}

/// Each reader begins where the last one was dropped, in the middle of records, behind them, and behind marks.
#[tokio::test(start_paused = true)]
async fn each_record_is_read_once_however_often_a_reader_is_opened() {
    let mut world = World::new();
    world.topic("t", 1).await;
    world.transact("t", 0..5, true).await;
    let table = world.table(&[("topic", "t")]);
    let mut split = splits(table.as_ref()).await.remove(0);
    drop(table);
    let mut all = Vec::new();
    for round in 1..=4 {
        world.next_attempt();
        let table = world.table(&[("topic", "t")]);
        let mut reader = open(table.as_ref(), &split).await;
        let Read::Records { batch, .. } = reader.next().await.expect("read") else { panic!("there are records") };
        all.extend(batch.column(0).as_primitive::<Int64Type>().values());
        split = (reader.later_position())();
        assert_eq!(split, reader.position());
        if round % 2 == 0 {
            let given = read_on(reader.as_mut()).await.expect("read");
            all.extend(given.numbers());
            split = reader.position();
            assert_eq!(place(&split).1, round * 6, "behind the mark");
        }
        world.transact("t", round * 5..round * 5 + 5, true).await;
    }
    assert_eq!(all, (0..20).collect::<Vec<_>>());
}

/// Only what is committed is read, and nothing behind a transaction that is open.
#[tokio::test(start_paused = true)]
async fn records_of_aborted_transactions_are_read_only_if_asked_for() {
    let world = World::new();
    world.topic("t", 1).await;
    world.transact("t", [1], true).await;
    world.transact("t", [2], false).await;
    world.put("t", 0, [3]).await;
    for (level, expected) in [("read_committed", &[1, 3][..]), ("read_uncommitted", &[1, 2, 3])] {
        let world = world_of(&world);
        let table = world.table(&[("topic", "t"), ("properties.isolation.level", level)]);
        assert_eq!(read_all(table.as_ref(), &splits(table.as_ref()).await).await, expected, "{level}");
    }
}

/// A split of a topic that the table does not name any more is not read on.
#[tokio::test(start_paused = true)]
async fn a_topic_that_the_table_names_no_more_is_left() {
    let mut world = ten().await;
    world.topic("u", 1).await;
    let splits = splits(world.table(&[("topic", "t;u")]).as_ref()).await;
    world.next_attempt();
    let table = world.table(&[("topic", "u")]);
    let given = read_on(open(table.as_ref(), &splits[0]).await.as_mut()).await.expect("read");
    assert!(given.has_ended && given.batches.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_not_there_has_no_offset() {
    let mut world = World::new();
    world.topic("nums", 3).await;
    world.topic("one", 1).await;
    let offsets = "partition:0,offset:1;partition:9,offset:2";
    for (topics, said) in
        [("nums", "topic 'nums' has partitions 0 to 2, and no 9"), ("one", "topic 'one' has partition 0, and no 9")]
    {
        for (mode, key) in [
            ("scan.startup.mode", "scan.startup.specific-offsets"),
            ("scan.bounded.mode", "scan.bounded.specific-offsets"),
        ] {
            world.next_attempt();
            let table = world.table(&[("topic", topics), (mode, "specific-offsets"), (key, offsets)]);
            let error = try_splits(table.as_ref(), Listing::First).await.expect_err("it is a mistake");
            let text = error.to_string();
            assert!(text.contains(&format!("option '{key}': {said}")), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_to_come_is_told_of() {
    let world = World::new();
    world.topic("nums", 2).await;
    world.put("nums", 1, 0..5).await;
    let offsets = "partition:0,offset:2;partition:1,offset:5";
    let bounded = [("scan.bounded.mode", "specific-offsets"), ("scan.bounded.specific-offsets", offsets)];
    splits(world.table(&[&[("topic", "nums")][..], &bounded].concat()).as_ref()).await;
    assert_eq!(["end of nums-0", "end of nums-1"].map(|about| world.was_told_of(about)), [true, false]);
}
