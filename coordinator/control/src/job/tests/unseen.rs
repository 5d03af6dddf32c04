//! Which tables get no rows that anybody sees.

use std::time::Duration;

use thalweg_types::{JobGraph, OperatorKind, connector::TableConnector};

use super::{graphs, world::World};

const NEVER: Duration = Duration::ZERO;
const EACH_SECOND: Duration = Duration::from_secs(1);

fn writing(mut graph: JobGraph, connector: &str, options: &[(&str, &str)]) -> JobGraph {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let connector = TableConnector { name: connector.to_owned(), options, secrets: [].into() };
    for operator in &mut graph.operators {
        if let OperatorKind::Sink(sink) = &mut operator.kind {
            sink.connector = connector.clone();
        }
    }
    graph
}

#[test]
fn rows_of_a_job_without_end_and_checkpoints_are_told_of() {
    let (endless, ending) = (graphs::watching, graphs::publishing);
    let once = ("sink.delivery-guarantee", "exactly-once");
    let often = ("sink.delivery-guarantee", "at-least-once");
    for (graph, interval, unseen) in [
        (writing(endless(), "kafka", &[once]), NEVER, &["output"][..]),
        (writing(endless(), "kafka", &[]), NEVER, &["output"]),
        (writing(endless(), "kafka", &[often]), NEVER, &[]),
        (writing(endless(), "filesystem", &[("path", "out")]), NEVER, &["output"]),
        (writing(endless(), "blackhole", &[]), NEVER, &[]),
        (writing(endless(), "kafka", &[once]), EACH_SECOND, &[]),
        (writing(ending(), "kafka", &[once]), NEVER, &[]),
    ] {
        let world = World::with_interval(&[1], None, graph, interval);
        assert_eq!(world.controller.unseen_tables(), unseen);
    }
}
