//! Ctrl-C and its kin.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Turns true at the first SIGINT, SIGTERM or SIGHUP. The second one ends the program at once: the
/// sandbox helper dies with it, and the store is valid at any moment.
pub fn cancel_on_signals() -> watch::Receiver<bool> {
    let (cancel, cancelled) = watch::channel(false);
    let streams = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    tokio::spawn(async move {
        let [Ok(interrupt), Ok(terminate), Ok(hangup)] = streams else {
            // Without handlers the signals keep their default effect, which also stops the program.
            return std::future::pending().await;
        };
        let mut streams = [interrupt, terminate, hangup];
        next_signal(&mut streams).await;
        if cancel.send(true).is_err() {
            return;
        }
        next_signal(&mut streams).await;
        std::process::exit(130);
    });
    cancelled
}

/// The same while work goes on that gives way; what is returned beside it ends the listening.
pub fn cancellable() -> (watch::Receiver<bool>, Listening) {
    let (cancel, cancelled) = watch::channel(false);
    let task = tokio::spawn(async move {
        let streams = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        let [Ok(interrupt), Ok(terminate), Ok(hangup)] = streams else { return };
        next_signal(&mut [interrupt, terminate, hangup]).await;
        // Nobody waits any more.
        let _ = cancel.send(true);
        std::future::pending::<()>().await;
    });
    (cancelled, Listening(task))
}

/// Listens to signals until it is dropped.
pub struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn next_signal([interrupt, terminate, hangup]: &mut [Signal; 3]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
