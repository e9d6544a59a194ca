//! Logs and metrics: what is set up once at the start. Neither ever holds a value, a path or a principal.

pub mod names;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What is logged and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// The format.
    pub format: LogFormat,
    /// The least severe level that is logged.
    pub level: tracing::Level,
}

/// Lines that wait to be written; what comes when there is no room is dropped and counted.
const LINES_MAX: usize = 8192;

/// Keeps the log going; what waits is written when it is dropped.
pub struct Logging {
    dropped: DroppedLines,
    _writer: WorkerGuard,
}

impl Logging {
    /// How many lines were dropped so far.
    #[must_use]
    pub fn dropped_lines(&self) -> DroppedLines {
        self.dropped.clone()
    }
}

/// Counts log lines that could not be kept until they were written.
#[derive(Clone, Debug)]
pub struct DroppedLines(ErrorCounter);

impl DroppedLines {
    /// So many.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::try_from(self.0.dropped_lines()).unwrap_or(u64::MAX)
    }
}

/// Starts logging on standard error, by a thread of its own: a reader that stalls or goes away neither holds up nor ends
/// the gate. Does nothing if a subscriber is there already.
#[must_use]
pub fn start_logging(settings: LogSettings) -> Logging {
    // Libraries below stay at `warn`: what they log at `debug` may quote headers.
    let filter = EnvFilter::new(format!("warn,sealgate={}", settings.level));
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).finish(std::io::stderr());
    let dropped = DroppedLines(writer.error_counter());
    // What cannot be logged is not told on standard error either: that is where it could not be written.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    let outcome = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => builder.with_ansi(false).try_init(),
    };
    drop(outcome);
    Logging { dropped, _writer: guard }
}

/// Installs the metrics recorder of this process and names every metric.
///
/// # Errors
/// If a recorder is installed already.
pub fn start_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    // OpenTelemetry's semantic conventions, `http.server.request.duration`.
    const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    for metric in names::ALL {
        match metric.kind {
            names::Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            names::Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            names::Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    Ok(handle)
}
