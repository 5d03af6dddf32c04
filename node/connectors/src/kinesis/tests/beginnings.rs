//! Where shards begin, and go on.

use super::*;

/// Both ways, from each position, whatever the sizes of batches.
#[tokio::test(start_paused = true)]
async fn a_shard_is_read_from_its_beginning_and_on() {
    for way in WAYS {
        let mut world = World::of(1);
        unlimited(&world);
        world.put(0, 0..20).await;
        let table = world.table(way);
        let [split] = &splits(table.as_ref()).await[..] else { panic!("it has one shard") };
        let mut reader = table.open(split).await.expect("it opens");
        assert_eq!(numbers_of(reader.as_mut(), 20).await, (0..20).collect::<Vec<_>>());
        world.put(0, 20..30).await;
        assert_eq!(numbers_of(reader.as_mut(), 10).await, (20..30).collect::<Vec<_>>());
        let position = reader.position();
        drop(reader);
        world.put(0, 30..35).await;
        world.next_attempt();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let table = world.table(way);
        let mut reader = table.open(&position).await.expect("it opens");
        assert_eq!(numbers_of(reader.as_mut(), 5).await, (30..35).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn latest_is_a_time_that_holds_from_the_first_listing_on() {
    let mut world = World::of(2);
    unlimited(&world);
    world.put(hash_key(0, 2), 0..5).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let latest = [("source.init.position", "LATEST")];
    let table = world.table(&latest);
    let first = splits(table.as_ref()).await;
    assert_eq!(first.len(), 2);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.put(hash_key(0, 2), 5..8).await;
    // Nothing was read before the attempt failed.
    world.next_attempt();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let table = world.table(&latest);
    assert_eq!(read(table.as_ref(), &first[0]).await.expect("read").numbers(), [5, 6, 7]);
    // Shards that are closed by then are not read at all; those found later begin at their beginning.
    world
        .kinesis
        .split(STREAM, &world.shard(0), middle(world.kinesis.shards_now(STREAM).expect("it is there")[0].hash_keys))
        .expect("it is open");
    assert_eq!(splits(table.as_ref()).await.len(), 3, "the closed one is left out");
    let later = splits_at(table.as_ref(), Listing::Later).await;
    assert!(later.iter().all(|split| split.payload["position"] == "trim_horizon"));
}

#[tokio::test(start_paused = true)]
async fn a_time_is_where_reading_begins() {
    let world = World::of(1);
    unlimited(&world);
    world.put(0, 0..3).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let at = (world.context.seams.clock.unix_time().as_millis() / 1000).to_string();
    world.put(0, 3..6).await;
    let table = world.table(&[("source.init.position", "AT_TIMESTAMP"), ("source.init.timestamp", &at)]);
    for listing in [Listing::First, Listing::Later] {
        let split = &splits_at(table.as_ref(), listing).await[0];
        assert_eq!(read(table.as_ref(), split).await.expect("read").numbers(), [3, 4, 5]);
    }
}

/// A position may be in the middle of an aggregated record.
#[tokio::test(start_paused = true)]
async fn aggregated_records_are_taken_apart_and_gone_on_with_in_the_middle() {
    for way in WAYS {
        let mut world = World::of(1);
        unlimited(&world);
        let mut packer = thalweg_kinesis::aggregation::Packer::new(1 << 20);
        (0..10).for_each(|n| assert!(packer.push(record(&format!("k{n}"), 5, n)).is_ok()));
        world.put_records(&[packer.finish().expect("it has some")]).await;
        world.put(0, 10..12).await;
        let columns = schema(&[("n", DataType::Int64, true)]);
        let options: Vec<_> = [("stream", STREAM), ("source.init.position", "TRIM_HORIZON"), ("format", "json")]
            .into_iter()
            .chain(way.iter().copied())
            .collect();
        let (mut all, mut split) = (Vec::<i64>::new(), None);
        while all.len() < 12 {
            let identity = SourceIdentity { common: world.common.clone(), ..source_identity(1 << 30) };
            let spec = source("kinesis", &options, columns.clone());
            let table = open_source_of(identity, &spec, &settings(3), &world.context).expect("sound");
            let at = match split.take() {
                Some(split) => split,
                None => splits(table.as_ref()).await.remove(0),
            };
            let mut reader = table.open(&at).await.expect("it opens");
            // One batch, and another attempt goes on behind it.
            let batch = loop {
                if let Read::Records { batch, .. } = reader.next().await.expect("it can be read") {
                    break batch;
                }
            };
            all.extend(batch.column(0).as_primitive::<Int64Type>().values());
            split = Some(reader.position());
            drop(reader);
            world.next_attempt();
            tokio::time::sleep(Duration::from_secs(6)).await;
        }
        assert_eq!(all, (0..12).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_aggregated_record_holds_of_other_shards_is_left_out() {
    for (option, expected) in [("drop", vec![0, 2]), ("keep", vec![0, 1, 2])] {
        let world = World::of(2);
        unlimited(&world);
        let mut packer = thalweg_kinesis::aggregation::Packer::new(1 << 20);
        for (n, part) in [(0, 0), (1, 1), (2, 0)] {
            assert!(packer.push(record("k", hash_key(part, 2), n)).is_ok());
        }
        world.put_records(&[packer.finish().expect("it has some")]).await;
        let table = world.table(&[("source.aggregation.other-shards", option)]);
        let split = &splits(table.as_ref()).await[0];
        let mut reader = table.open(split).await.expect("it opens");
        assert_eq!(numbers_of(reader.as_mut(), expected.len()).await, expected);
    }
}
