//! Why a connection failed, where librdkafka tells it in its log alone: a listener that expects TLS or a password hangs up without a word, and
//! the client's event says no more than that all brokers are down.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode;

/// What lines of the log are called that tell of connections.
const FACILITY: &str = "FAIL";
/// A reason that is older is of another time.
const AGE: Duration = Duration::from_secs(45);

/// The last connection that failed.
#[derive(Default)]
pub(super) struct Hangups {
    last: Option<(String, Duration)>,
}

impl Hangups {
    /// Takes a line of the log.
    pub(super) fn on_line(&mut self, facility: &str, line: &str, now: Duration) {
        if facility == FACILITY {
            // The name of the thread, which says the broker's a second time, stands before the reason.
            let reason = line.split_once("]: ").filter(|_| line.starts_with("[thrd:")).map(|(_, reason)| reason);
            self.last = Some((reason.unwrap_or(line).to_owned(), now));
        }
    }

    /// What an event says, with the reason if the event is only that all brokers are down.
    pub(super) fn explained(&self, code: RDKafkaErrorCode, event: &str, now: Duration) -> String {
        let is_new = |at: &Duration| code == RDKafkaErrorCode::AllBrokersDown && now.saturating_sub(*at) < AGE;
        let Some((reason, _)) = self.last.as_ref().filter(|(_, at)| is_new(at)) else { return event.to_owned() };
        let hint = match reason.contains("APIVERSION_QUERY") {
            true => "; perhaps it expects TLS or SASL: see 'properties.security.protocol'",
            false => "",
        };
        format!("{event}: {reason}{hint}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: &str = "1/1 brokers are down";

    fn explained(lines: &[(&str, &str)], code: RDKafkaErrorCode, now_s: u64) -> String {
        let mut hangups = Hangups::default();
        lines.iter().for_each(|(facility, line)| hangups.on_line(facility, line, Duration::ZERO));
        hangups.explained(code, DOWN, Duration::from_secs(now_s))
    }

    #[test]
    fn that_all_brokers_are_down_is_told_with_the_reason() {
        let down = RDKafkaErrorCode::AllBrokersDown;
        assert_eq!(explained(&[], down, 1), DOWN);
        let hung_up =
            ("FAIL", "[thrd:h:9093/bootstrap]: h:9093/bootstrap: Disconnected (after 3ms in state APIVERSION_QUERY)");
        let told = explained(&[("FAIL", "other"), hung_up, ("CONNECT", "x")], down, 1);
        assert!(told.starts_with("1/1 brokers are down: h:9093/bootstrap: Disconnected (after 3ms"), "{told}");
        assert!(told.ends_with("see 'properties.security.protocol'"), "{told}");
        assert_eq!(explained(&[hung_up], RDKafkaErrorCode::Resolve, 1), DOWN, "it has a reason of its own");
        assert_eq!(explained(&[hung_up], down, 60), DOWN, "that was long ago");
        let refused = explained(&[("FAIL", "h:1/bootstrap: Connect to h:1 failed: Connection refused")], down, 1);
        assert!(refused.ends_with("Connection refused"), "{refused}");
    }
}
