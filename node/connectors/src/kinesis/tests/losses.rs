//! Records that are gone before they were read.

use super::*;

const SKIP: (&str, &str) = ("scan.on-data-loss", "skip");

/// Reads some records, and returns the position behind them.
async fn position_behind(world: &World, way: &[(&str, &str)], count: usize) -> Split {
    let table = world.table(way);
    let split = splits(table.as_ref()).await.remove(0);
    let mut reader = table.open(&split).await.expect("it opens");
    numbers_of(reader.as_mut(), count).await;
    reader.position()
}

fn with<'a>(way: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [way, more].concat()
}

#[tokio::test(start_paused = true)]
async fn what_retention_has_taken_is_an_error_or_skipped() {
    for way in WAYS {
        let mut world = World::of(1);
        unlimited(&world);
        world.put(0, 0..5).await;
        let position = position_behind(&world, way, 5).await;
        world.put(0, 5..8).await;
        world.kinesis.trim(STREAM).expect("it is there");
        world.put(0, 8..10).await;
        world.next_attempt();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let lost = read(world.table(way).as_ref(), &position).await.expect_err("three are lost").to_string();
        assert!(
            lost.contains("retention") && lost.contains("scan.on-data-loss") && lost.contains("shardId-"),
            "{lost}"
        );
        world.next_attempt();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let table = world.table(&with(way, &[SKIP]));
        let mut reader = table.open(&position).await.expect("it opens");
        assert_eq!(numbers_of(reader.as_mut(), 2).await, [8, 9]);
    }
}

/// A shard that is silent for longer than records are kept has lost nothing.
#[tokio::test(start_paused = true)]
async fn silence_is_no_loss() {
    for way in WAYS {
        let mut world = World::of(1);
        unlimited(&world);
        world.put(0, 0..3).await;
        let table = world.table(way);
        let split = splits(table.as_ref()).await.remove(0);
        let mut reader = table.open(&split).await.expect("it opens");
        numbers_of(reader.as_mut(), 3).await;
        // It is read all the time.
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(20 * 3600)).await;
            assert!(read_on(reader.as_mut()).await.expect("it goes on").numbers().is_empty());
            assert!(read_on(reader.as_mut()).await.expect("it goes on").numbers().is_empty());
        }
        let position = reader.position();
        drop((reader, table));
        world.next_attempt();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        world.put(0, 3..5).await;
        let table = world.table(way);
        let mut reader = table.open(&position).await.expect("it opens");
        assert_eq!(numbers_of(reader.as_mut(), 2).await, [3, 4], "the last record has gone, and nothing else");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_made_anew_is_noticed() {
    for way in WAYS {
        let mut world = World::of(1);
        unlimited(&world);
        world.put(0, 0..3).await;
        let position = position_behind(&world, way, 3).await;
        assert!(world.kinesis.delete_stream(STREAM));
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.kinesis.create_stream(STREAM, 1).expect("it is gone");
        world.put(0, 10..12).await;
        world.next_attempt();
        let lost = read(world.table(way).as_ref(), &position).await.expect_err("it is another").to_string();
        assert!(lost.contains("made anew"), "{lost}");
        world.next_attempt();
        let table = world.table(&with(way, &[SKIP]));
        let got = read(table.as_ref(), &position).await.expect("it is skipped");
        assert!(got.has_ended && got.numbers().is_empty());
        // The new one's shards are other pieces.
        let [split] = &splits_at(table.as_ref(), Listing::Later).await[..] else { panic!("it has one shard") };
        assert_ne!(split.id, position.id);
        let mut reader = table.open(split).await.expect("it opens");
        assert_eq!(numbers_of(reader.as_mut(), 2).await, [10, 11]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_sees_for_a_while_is_gone() {
    let world = World::of(1);
    unlimited(&world);
    world.put(0, 0..3).await;
    let table = world.table(&[]);
    let split = splits(table.as_ref()).await.remove(0);
    let mut reader = table.open(&split).await.expect("it opens");
    numbers_of(reader.as_mut(), 3).await;
    assert!(world.kinesis.delete_stream(STREAM));
    let lost = loop {
        match reader.next().await {
            Ok(Read::Waiting | Read::CaughtUp) => {}
            Ok(other) => panic!("{other:?}"),
            Err(lost) => break lost.to_string(),
        }
    };
    assert!(lost.contains("was deleted"), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_not_kept_any_more_is_a_loss_and_its_children_go_on() {
    let mut world = World::of(1);
    unlimited(&world);
    world.put(0, 0..3).await;
    let position = position_behind(&world, &[], 3).await;
    world.put(0, 3..5).await;
    world.kinesis.split(STREAM, &world.shard(0), 1 << 127).expect("it is open");
    world.kinesis.trim(STREAM).expect("it is there");
    assert_eq!(world.kinesis.shards_now(STREAM).expect("it is there").len(), 2, "the closed one has gone");
    world.put(0, 5..7).await;
    world.next_attempt();
    let lost = read(world.table(&[]).as_ref(), &position).await.expect_err("its rest is lost").to_string();
    assert!(lost.contains("shardId-000000000000") && lost.contains("not kept any more"), "{lost}");
    world.next_attempt();
    let table = world.table(&[SKIP]);
    assert!(read(table.as_ref(), &position).await.expect("it is skipped").has_ended);
    let children = splits_at(table.as_ref(), Listing::Later).await;
    let mut reader = table.open(&children[0]).await.expect("it opens");
    assert_eq!(numbers_of(reader.as_mut(), 2).await, [5, 6]);
}
