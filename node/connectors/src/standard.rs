//! The standard input and output of the process, as the program provides them.

use tokio::io::AsyncRead;

/// Provides the standard input.
pub trait StandardInput: Send + Sync + std::fmt::Debug {
    /// Takes the input; `None` if it was taken before.
    fn take(&self) -> Option<Box<dyn AsyncRead + Send + Unpin>>;
}

/// The output that `print` writes to.
pub trait StandardOutput: Send + Sync + std::fmt::Debug {
    /// Writes whole lines, not interleaved with lines of other callers.
    ///
    /// # Errors
    /// Errors of the system, such as a closed pipe.
    fn write_lines(&self, lines: &[u8]) -> std::io::Result<()>;
}
