//! The signals that ask a process to end: an interrupt from the keyboard, and the request to terminate.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first of these signals.
///
/// # Errors
/// If the system does not deliver signals.
pub async fn until_asked_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
