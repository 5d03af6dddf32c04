//! Stands before a broker, and cuts connections in the middle of their handshakes.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// The number of the request that begins a SASL handshake.
const SASL_HANDSHAKE: i16 = 17;
/// No request of a handshake is larger.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// It ends with the test's process.
pub(crate) struct Proxy {
    address: String,
    handshakes: Arc<AtomicU32>,
}

impl Proxy {
    /// Cuts a connection where a handshake begins, then lets the next through, and so on.
    #[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
    pub(crate) fn start(broker: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("it has an address").to_string();
        let handshakes = Arc::new(AtomicU32::new(0));
        let counted = handshakes.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&broker) else { continue };
                let handshakes = counted.clone();
                thread::spawn(move || pass(&client, &server, &handshakes));
            }
        });
        Self { address, handshakes }
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// How many connections were cut.
    pub(crate) fn cut(&self) -> u32 {
        self.handshakes.load(Ordering::Relaxed).div_ceil(2)
    }
}

#[allow(clippy::disallowed_methods, reason = "a test hands in real surroundings")]
fn pass(client: &TcpStream, server: &TcpStream, handshakes: &AtomicU32) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut from, mut to) = (server, client);
            io::copy(&mut from, &mut to).ok();
            end(client, server);
        });
        pass_requests(client, server, handshakes).ok();
        end(client, server);
    });
}

fn pass_requests(mut client: &TcpStream, mut server: &TcpStream, handshakes: &AtomicU32) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        client.read_exact(&mut length)?;
        let mut request = vec![0; (u32::from_be_bytes(length) as usize).min(REQUEST_BYTES_MAX)];
        client.read_exact(&mut request)?;
        let is_handshake = request.get(..2) == Some(&SASL_HANDSHAKE.to_be_bytes()[..]);
        if is_handshake && handshakes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Ok(());
        }
        server.write_all(&length)?;
        server.write_all(&request)?;
    }
}

fn end(client: &TcpStream, server: &TcpStream) {
    for connection in [client, server] {
        connection.shutdown(Shutdown::Both).ok();
    }
}
