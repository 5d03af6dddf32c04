//! Shards that are split and merged.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_shard_ends_and_tells_its_children() {
    for way in WAYS {
        let world = World::of(1);
        unlimited(&world);
        world.put(0, 0..3).await;
        let table = world.table(way);
        let split = splits(table.as_ref()).await.remove(0);
        let mut reader = table.open(&split).await.expect("it opens");
        numbers_of(reader.as_mut(), 3).await;
        let children = world.kinesis.split(STREAM, &world.shard(0), 1 << 127).expect("it is open");
        world.put(0, 3..5).await;
        let got = read_on(reader.as_mut()).await.expect("it ends");
        assert!(got.has_ended || read_on(reader.as_mut()).await.expect("it ends").has_ended);
        let successors = reader.successors();
        let pieces = list(table.as_ref()).await;
        let listed: Vec<&str> = pieces.iter().map(|piece| piece.name.as_str()).collect();
        assert_eq!(successors.len(), 2);
        for (successor, child) in successors.iter().zip(&children) {
            assert!(
                successor.split.id.0.starts_with(child.as_str()) && listed.contains(&successor.split.id.0.as_str())
            );
            assert_eq!(successor.after, std::slice::from_ref(&split.id));
        }
        assert_eq!(pieces[1].after, std::slice::from_ref(&split.id.0), "the listing says the same");
        let mut child = table.open(&successors[0].split).await.expect("it opens");
        assert_eq!(numbers_of(child.as_mut(), 2).await, [3, 4]);
        // An ended shard ends again at once.
        let again = read(table.as_ref(), &reader.position()).await.expect("it ends again");
        assert!(again.has_ended && again.numbers().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_merged_shard_follows_both() {
    let world = World::of(2);
    unlimited(&world);
    let (first, second) = (world.shard(0), world.shard(1));
    let merged = world.kinesis.merge(STREAM, &first, &second).expect("they are beside one another");
    let table = world.table(&[]);
    let all = splits(table.as_ref()).await;
    assert_eq!(all.len(), 3);
    for split in &all[..2] {
        let mut reader = table.open(split).await.expect("it opens");
        assert!(read_on(reader.as_mut()).await.expect("it ends").has_ended);
        let [successor] = &reader.successors()[..] else { panic!("it has one child") };
        assert!(successor.split.id.0.starts_with(merged.as_str()));
        assert_eq!(successor.after, [all[0].id.clone(), all[1].id.clone()]);
    }
}

impl World {
    /// Splits a shard, or merges two.
    fn reshard(&self, splits: bool) {
        let shards = self.kinesis.shards_now(STREAM).expect("it is there");
        let open: Vec<_> = shards.iter().filter(|shard| shard.is_open()).collect();
        if splits {
            self.kinesis.split(STREAM, &open[0].id, middle(open[0].hash_keys)).expect("it is open");
            return;
        }
        let merged = self.kinesis.merge(STREAM, &open[0].id, &open[1].id);
        let merged = merged.or_else(|_| self.kinesis.merge(STREAM, &open[0].id, &open[2].id));
        merged.expect("they are beside one another");
    }
}

/// Reads a stream while it is split and merged, by children at once where all before have ended, with throttling, empty pages,
/// iterators that expire and subscriptions that break. Each key's records come in their order.
#[tokio::test(start_paused = true)]
async fn records_of_a_key_keep_their_order_over_reshardings() {
    for way in WAYS {
        let world = World::of(2);
        world.kinesis.throttle(20);
        world.kinesis.skip_reads(20);
        let table = world.table(way);
        let mut open: Vec<(Split, Box<dyn SplitReader>)> = Vec::new();
        for split in splits(table.as_ref()).await {
            let reader = table.open(&split).await.expect("it opens");
            open.push((split, reader));
        }
        let (mut seen, mut ended): (Vec<i64>, Vec<thalweg_types::SplitId>) = (Vec::new(), Vec::new());
        let mut waiting = Vec::new();
        for round in 0..4_i64 {
            for n in 0..20 {
                let key = hash_key(u32::try_from(n % 4).expect("it is small"), 4);
                let record = record(&format!("k{}", n % 4), key, round * 20 + n);
                while world.client().put_records(std::slice::from_ref(&record)).await.expect("sound")[0].is_err() {}
            }
            world.reshard(round % 2 == 0);
            world.kinesis.expire_iterators();
            world.kinesis.break_subscriptions();
            for _ in 0..60 {
                let mut at = 0;
                while at < open.len() {
                    let next = tokio::time::timeout(Duration::from_secs(2), open[at].1.next()).await;
                    match next {
                        Ok(Ok(Read::Records { batch, .. })) => {
                            seen.extend(batch.column(0).as_primitive::<Int64Type>().values())
                        }
                        Ok(Ok(Read::End)) => {
                            let (split, reader) = open.swap_remove(at);
                            ended.push(split.id);
                            waiting.extend(reader.successors());
                            continue;
                        }
                        Ok(Ok(_)) | Err(_) => {}
                        Ok(Err(error)) => panic!("{error}"),
                    }
                    at += 1;
                }
                let (ready, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut waiting)
                    .into_iter()
                    .partition(|next: &crate::Successor| next.after.iter().all(|id| ended.contains(id)));
                waiting = rest;
                for next in ready {
                    if open.iter().all(|(split, _)| split.id != next.split.id) {
                        let reader = table.open(&next.split).await.expect("it opens");
                        open.push((next.split, reader));
                    }
                }
            }
        }
        for key in 0..4 {
            let of_key: Vec<i64> = seen.iter().copied().filter(|n| n % 4 == key).collect();
            assert!(of_key.is_sorted(), "key {key}: {of_key:?}");
        }
        let mut all = seen.clone();
        all.sort_unstable();
        assert_eq!(all, (0..80).collect::<Vec<_>>(), "{way:?}");
    }
}
