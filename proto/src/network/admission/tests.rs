//! Which connections are kept, on listeners in memory and the test's clock.

use futures::StreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};
use tonic::transport::server::Connected as _;

use super::*;
use crate::{
    network::{MemoryNetwork, Network as _, Peer},
    testing::seams,
};

const LIMITS: ConnectionLimits =
    ConnectionLimits { connections_max: 3, first_request: Duration::from_secs(10), idle: Duration::from_secs(60) };

/// A listener in memory, and the connections that it admits.
struct Served {
    network: MemoryNetwork,
    address: String,
    incoming: Incoming,
}

impl Served {
    async fn new() -> Self {
        let network = MemoryNetwork::default();
        let listener = network.listen("a:0").await.expect("a port is free");
        let address = listener.address.clone();
        Self { network, address, incoming: admit(listener, LIMITS) }
    }

    /// The client's end of a connection, and the activity of the server's end, which a task reads until the end.
    async fn connect(&mut self) -> (Connection, Activity) {
        let client = self.network.connect(&self.address).await.expect("it listens");
        let mut served = self.incoming.next().await.expect("a listener").expect("a connection");
        let activity = served.connect_info().activity;
        #[allow(clippy::disallowed_methods, reason = "a test's own task")]
        tokio::spawn(async move { served.read_to_end(&mut Vec::new()).await });
        (client, activity)
    }

    /// Lets time pass while the listener is polled.
    async fn pass(&mut self, time: Duration) {
        tokio::select! {
            _ = self.incoming.next() => panic!("nobody has connected"),
            () = sleep(time) => {}
        }
    }
}

/// Whether the other side has closed a connection.
async fn is_closed(client: &mut Connection) -> bool {
    let mut byte = [0];
    let read = timeout(Duration::from_millis(1), client.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_for_nothing_is_sent_away() {
    let mut served = Served::new().await;
    let (mut silent, _) = served.connect().await;
    let (mut asking, activity) = served.connect().await;
    let request = activity.begin();
    served.pass(Duration::from_secs(9)).await;
    assert!(!is_closed(&mut silent).await);
    served.pass(Duration::from_secs(4)).await;
    assert!(is_closed(&mut silent).await, "no request in ten seconds");
    served.pass(Duration::from_secs(300)).await;
    assert!(!is_closed(&mut asking).await, "its request goes on");
    drop(request);
    served.pass(Duration::from_secs(55)).await;
    assert!(!is_closed(&mut asking).await);
    served.pass(Duration::from_secs(10)).await;
    assert!(is_closed(&mut asking).await, "idle for a minute");
}

#[tokio::test(start_paused = true)]
async fn where_it_is_full_the_idle_make_room_and_the_busy_stay() {
    let mut served = Served::new().await;
    let (mut busy, activity) = served.connect().await;
    let _request = activity.begin();
    let (mut idle, activity) = served.connect().await;
    drop(activity.begin());
    let (mut fresh, _) = served.connect().await;
    let (mut next, activity) = served.connect().await;
    assert!(is_closed(&mut fresh).await, "it had never made a request");
    let _other = activity.begin();
    let (mut last, activity) = served.connect().await;
    assert!(is_closed(&mut idle).await, "it made none now");
    let _third = activity.begin();
    for kept in [&mut busy, &mut next, &mut last] {
        assert!(!is_closed(kept).await);
    }
    // All are busy: the new connection is refused, and the others do not notice.
    let mut refused = served.network.connect(&served.address).await.expect("it listens");
    served.pass(Duration::from_secs(1)).await;
    assert!(is_closed(&mut refused).await);
    assert!(!is_closed(&mut busy).await);
    drop(next);
    served.pass(Duration::from_millis(10)).await;
    let (mut after, _) = served.connect().await;
    assert!(!is_closed(&mut after).await, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_strangers_keep_nobody_out() {
    let mut served = Served::new().await;
    let mut strangers = Vec::new();
    for _ in 0..1000 {
        strangers.push(served.connect().await.0);
    }
    let mut open = 0;
    for stranger in &mut strangers {
        open += usize::from(!is_closed(stranger).await);
    }
    assert!(open <= 3, "{open} are open");
    let (mut member, activity) = served.connect().await;
    let _stream = activity.begin();
    for _ in 0..100 {
        strangers.push(served.connect().await.0);
    }
    assert!(!is_closed(&mut member).await);
}

/// The system is out of file descriptors.
#[tokio::test(start_paused = true)]
async fn a_listener_that_the_system_refuses_waits_before_it_asks_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let refusing = stream::repeat_with(move || {
        counted.fetch_add(1, SeqCst);
        Err(io::Error::from_raw_os_error(24))
    });
    let listener = Listener { address: "a:1".to_owned(), incoming: Box::pin(refusing) };
    let mut incoming = admit(listener, LIMITS);
    let clock = seams().clock;
    assert!(timeout(Duration::from_secs(60), incoming.next()).await.is_err(), "nothing is given");
    assert!(clock.monotonic() >= Duration::from_secs(60));
    let asked = asked.load(SeqCst);
    assert!((30..80).contains(&asked), "asked {asked} times in a minute");
}

#[tokio::test(start_paused = true)]
async fn what_happened_to_one_connection_says_nothing_of_the_next() {
    let (mut ours, theirs) = tokio::io::duplex(64);
    let accepted = [Err(io::ErrorKind::ConnectionAborted.into()), Ok(Connection::new(theirs, Peer::default()))];
    let listener = Listener { address: "a:1".to_owned(), incoming: Box::pin(stream::iter(accepted)) };
    let mut incoming = admit(listener, LIMITS);
    let mut served = incoming.next().await.expect("a listener").expect("a connection");
    ours.write_all(b"x").await.expect("it is open");
    let mut byte = [0];
    served.read_exact(&mut byte).await.expect("it is open");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_given_up() {
    let (_ours, theirs) = tokio::io::duplex(4);
    let listener = Listener {
        address: "a:1".to_owned(),
        incoming: Box::pin(stream::iter([Ok(Connection::new(theirs, Peer::default()))])),
    };
    let mut incoming = admit(listener, LIMITS);
    let mut served = incoming.next().await.expect("a listener").expect("a connection");
    let clock = seams().clock;
    let error = served.write_all(b"more than it takes").await.expect_err("nobody reads");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(clock.monotonic() <= WRITE_STALL_MAX + Duration::from_secs(1));
}
