//! The signals that end a process: an interrupt from the keyboard, and the request to terminate.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first of them.
///
/// # Errors
/// When the system refuses to tell of signals.
pub async fn until_asked_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
