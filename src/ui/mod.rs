//! Events as people, and programs, see them: a live view, a log, JSON lines, a summary.
//!
//! [`Ui`] takes events from any thread and writes to the one writer it was given. It knows neither the plan
//! nor an engine, and reads neither environment nor terminal by itself beyond the terminal's size: what is
//! known about the surroundings comes in as [`Surroundings`].

mod json;
mod plain;
mod problem;
#[cfg(test)]
mod recorded;
mod story;
mod style;
mod summary;
mod text;
mod tty;

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use plain::Plain;
use story::Story;
use tty::{Screen, Tty};

use crate::diag::Problem;
use crate::event::{Event, EventSink};

pub use style::Style;
pub use text::{bytes, count, pad, width};

/// How often the live view is redrawn, and held lines are looked at.
const TICK: Duration = Duration::from_millis(66);

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Progress {
    /// The live view on a terminal that can show it, else the log.
    #[default]
    Auto,
    Tty,
    Plain,
    Json,
    /// Nothing but failures.
    Quiet,
}

/// What is known about where the output goes.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub is_terminal: bool,
    /// The value of `TERM`.
    pub term: Option<String>,
    /// The value of `NO_COLOR` (no-color.org: any value but the empty one).
    pub no_color: Option<String>,
    /// The width of reports where there is no terminal to ask.
    pub columns: Option<usize>,
}

impl Surroundings {
    /// Whether escape sequences will be understood.
    fn is_capable(&self) -> bool {
        self.is_terminal && self.term.as_deref() != Some("dumb")
    }

    /// Whether to colour what goes there.
    pub fn wants_colour(&self) -> bool {
        self.is_capable() && self.no_color.as_deref().is_none_or(str::is_empty)
    }

    /// The printer `Auto` stands for.
    pub fn progress(&self, wanted: Progress) -> Progress {
        match wanted {
            Progress::Auto if self.is_capable() => Progress::Tty,
            Progress::Auto => Progress::Plain,
            chosen => chosen,
        }
    }
}

/// One problem outside of a run, such as those of the build file.
pub fn report(problem: &Problem, surroundings: &Surroundings) -> String {
    let style = Style { colour: surroundings.wants_colour() };
    problem::report(problem, &[], style, surroundings.columns.unwrap_or(100))
}

/// Prints a run. Dropped, or told the run's end, it leaves the terminal as it found it.
pub struct Ui {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    view: Mutex<View>,
    /// Wakes the ticker when there is nothing left to draw.
    over: Condvar,
    started: Instant,
}

struct View {
    story: Story,
    printer: Printer,
    out: Box<dyn Write + Send>,
    style: Style,
    columns: Option<usize>,
    is_terminal: bool,
    /// Somebody closed the other end: the run goes on, unheard.
    is_closed: bool,
    is_over: bool,
}

enum Printer {
    Tty(Tty),
    Plain(Plain),
    Json,
    Quiet,
}

impl Ui {
    pub fn new(progress: Progress, surroundings: &Surroundings, out: Box<dyn Write + Send>) -> Self {
        let style = Style { colour: surroundings.wants_colour() };
        let printer = match surroundings.progress(progress) {
            Progress::Tty => Printer::Tty(Tty::new(style)),
            Progress::Json => Printer::Json,
            Progress::Quiet => Printer::Quiet,
            Progress::Auto | Progress::Plain => Printer::Plain(Plain::new(style)),
        };
        let ticks = matches!(printer, Printer::Tty(_) | Printer::Plain(_));
        let view = View {
            story: Story::default(),
            printer,
            out,
            style,
            columns: surroundings.columns,
            is_terminal: surroundings.is_terminal,
            is_closed: false,
            is_over: false,
        };
        let shared =
            Arc::new(Shared { view: Mutex::new(view), over: Condvar::new(), started: Instant::now() });
        let ticker = ticks.then(|| {
            let shared = shared.clone();
            thread::spawn(move || shared.tick())
        });
        Self { shared, ticker }
    }
}

impl EventSink for Ui {
    fn emit(&self, event: Event) {
        let mut view = self.shared.lock();
        let now = self.shared.started.elapsed();
        view.take(&event, now);
        if view.is_over {
            self.shared.over.notify_all();
        }
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let mut view = self.shared.lock();
        view.close();
        drop(view);
        self.shared.over.notify_all();
        if let Some(ticker) = self.ticker.take() {
            // A ticker that panicked has nothing more to draw.
            let _ = ticker.join();
        }
    }
}

impl Shared {
    /// A printer that panicked must not take the run with it.
    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        let mut view = self.lock();
        while !view.is_over {
            view = self.over.wait_timeout(view, TICK).unwrap_or_else(PoisonError::into_inner).0;
            if !view.is_over {
                view.refresh(self.started.elapsed());
            }
        }
    }
}

impl View {
    fn take(&mut self, event: &Event, now: Duration) {
        let ended = self.story.ending_step(event);
        self.story.tell(event, now);
        let text = match &mut self.printer {
            Printer::Json => json::line(event, &self.story, now),
            Printer::Quiet => String::new(),
            Printer::Plain(plain) => plain.lines(event, &self.story, ended.as_ref(), now),
            Printer::Tty(tty) => match tty.news(event, &self.story) {
                news if news.is_empty() => String::new(),
                news => tty.draw(&news, &self.story, now, screen(self.is_terminal, self.columns)),
            },
        };
        self.write(&text);
        if matches!(event, Event::RunFinished { .. }) {
            self.close();
        }
    }

    fn refresh(&mut self, now: Duration) {
        let text = match &mut self.printer {
            Printer::Plain(plain) => plain.overdue(&self.story, now),
            Printer::Tty(tty) => tty.draw("", &self.story, now, screen(self.is_terminal, self.columns)),
            Printer::Json | Printer::Quiet => String::new(),
        };
        self.write(&text);
    }

    /// Takes the live view off and prints the summary, once.
    fn close(&mut self) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        let columns = self.columns.unwrap_or(100);
        let text = match &mut self.printer {
            Printer::Json => String::new(),
            Printer::Quiet => summary::failures(&self.story, self.style, columns),
            Printer::Plain(_) => summary::summary(&self.story, self.style, columns),
            Printer::Tty(tty) => {
                let screen = screen(self.is_terminal, self.columns);
                let text = summary::summary(&self.story, self.style, screen.columns);
                tty.end(&text, screen)
            }
        };
        self.write(&text);
    }

    fn write(&mut self, text: &str) {
        if text.is_empty() || self.is_closed {
            return;
        }
        self.is_closed = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).is_err();
    }
}

/// The terminal's size now; it may have changed since the last look.
fn screen(is_terminal: bool, columns: Option<usize>) -> Screen {
    let size = if is_terminal { crossterm::terminal::size().ok() } else { None };
    match size {
        Some((wide, high)) if wide > 0 && high > 0 => Screen { columns: wide.into(), rows: high.into() },
        _ => Screen { columns: columns.unwrap_or(80), rows: 24 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Shelf(Arc<Mutex<Vec<u8>>>);

    impl Write for Shelf {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn printed(progress: Progress, surroundings: &Surroundings, events: Vec<(u64, Event)>) -> String {
        let shelf = Shelf::default();
        let ui = Ui::new(progress, surroundings, Box::new(shelf.clone()));
        for (_, event) in events {
            ui.emit(event);
        }
        drop(ui);
        String::from_utf8(shelf.0.lock().unwrap().clone()).unwrap()
    }

    fn terminal() -> Surroundings {
        Surroundings { is_terminal: true, term: Some("xterm".to_string()), ..Surroundings::default() }
    }

    #[test]
    fn the_printer_follows_the_surroundings() {
        let check = |surroundings: Surroundings, wanted: Progress, expected: (Progress, bool)| {
            assert_eq!((surroundings.progress(wanted), surroundings.wants_colour()), expected);
        };
        check(terminal(), Progress::Auto, (Progress::Tty, true));
        check(terminal(), Progress::Plain, (Progress::Plain, true));
        check(Surroundings::default(), Progress::Auto, (Progress::Plain, false));
        check(Surroundings::default(), Progress::Tty, (Progress::Tty, false));
        let dumb = Surroundings { term: Some("dumb".to_string()), ..terminal() };
        check(dumb, Progress::Auto, (Progress::Plain, false));
        check(
            Surroundings { no_color: Some("1".into()), ..terminal() },
            Progress::Auto,
            (Progress::Tty, false),
        );
        check(
            Surroundings { no_color: Some(String::new()), ..terminal() },
            Progress::Auto,
            (Progress::Tty, true),
        );
    }

    #[test]
    fn every_printer_ends_with_the_result() {
        let plain = printed(Progress::Plain, &Surroundings::default(), recorded::first_build());
        assert!(plain.contains("\n[api linux/arm64 2/3] | done\n"), "{plain}");
        assert!(
            plain.ends_with("4 steps built, 1 reused; 3.0 s emulated, 95 % of all time in steps\n"),
            "{plain}"
        );
        let tty = printed(Progress::Tty, &Surroundings::default(), recorded::unchanged_build());
        assert!(tty.ends_with("1 image up to date in 18 ms\r\n\u{1b}[?2026l"), "{tty:?}");
        let json = printed(Progress::Json, &Surroundings::default(), recorded::failed_build());
        assert_eq!(json.lines().count(), recorded::failed_build().len());
    }

    #[test]
    fn quiet_says_failures_only() {
        let quiet = |events| printed(Progress::Quiet, &Surroundings::default(), events);
        assert_eq!(quiet(recorded::first_build()), "");
        let failed = quiet(recorded::failed_build());
        assert!(failed.contains("services/api/Dockerfile:2") && failed.contains("no such thing"), "{failed}");
    }

    #[test]
    fn a_closed_pipe_does_not_stop_the_run() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let ui = Ui::new(Progress::Plain, &Surroundings::default(), Box::new(Closed));
        for (_, event) in recorded::first_build() {
            ui.emit(event);
        }
    }
}
