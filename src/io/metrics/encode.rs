//! The two text formats: OpenMetrics as the library writes it, and the classic one made from it.

use super::samples::{Family, Kind, Samples, Value};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// Version 0.0.4: what Prometheus has always read.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// The format that an `Accept` header wants most; the classic one when it does not say.
    pub fn negotiate(accept: &str) -> Exposition {
        let mut best = (0.0, Exposition::Classic);
        for part in accept.split(',') {
            let mut words = part.split(';').map(str::trim);
            let format = match words.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => Exposition::OpenMetrics,
                "text/plain" | "text/*" | "*/*" => Exposition::Classic,
                _ => continue,
            };
            let quality = words.find_map(|word| word.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            if let Some(quality) = quality
                && quality > best.0
            {
                best = (quality, format);
            }
        }
        best.1
    }

    /// What it is called in the answer's head.
    pub fn content_type(self) -> &'static str {
        match self {
            Exposition::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Exposition::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The text.
    pub fn encode(self, samples: Samples) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Snapshot(samples)));
        let mut open = String::new();
        // Writing into a string fails only when an encoder refuses a value, and ours are all plain numbers.
        text::encode(&mut open, &registry).expect("plain numbers are written");
        match self {
            Exposition::OpenMetrics => open,
            Exposition::Classic => classic(&open),
        }
    }
}

/// In the classic format a counter's family has the name of its samples, and there is no end mark.
fn classic(open: &str) -> String {
    let mut out = String::with_capacity(open.len() + 1_024);
    let mut help: Option<&str> = None;
    for line in open.lines() {
        if line.starts_with("# HELP ") {
            // Written with the type, which follows.
            help = Some(line);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some(text) = help.take().and_then(|help| help["# HELP ".len()..].strip_prefix(name)) {
                out.push_str(&format!("# HELP {name}{suffix}{text}\n"));
            }
            out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Hands the library what was gathered.
#[derive(Debug)]
struct Snapshot(Samples);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for (name, Family { help, kind, points }) in &self.0.families {
            let (name, kind) = match kind {
                Kind::Counter => (name.strip_suffix("_total").unwrap_or(name), MetricType::Counter),
                Kind::Gauge => (*name, MetricType::Gauge),
                Kind::Histogram => (*name, MetricType::Histogram),
            };
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in points {
                if labels.is_empty() {
                    point(&mut metric, kind, value)?;
                } else {
                    point(&mut metric.encode_family(labels)?, kind, value)?;
                }
            }
        }
        Ok(())
    }
}

fn point(metric: &mut MetricEncoder<'_>, kind: MetricType, value: &Value) -> Result<(), fmt::Error> {
    match (kind, value) {
        (MetricType::Counter, Value::Count(count)) => metric.encode_counter::<NoLabelSet, _, f64>(count, None),
        (MetricType::Counter, Value::Number(sum)) => metric.encode_counter::<NoLabelSet, _, f64>(sum, None),
        (_, Value::Number(number)) => metric.encode_gauge(number),
        (_, Value::Count(count)) => metric.encode_gauge(count),
        (_, Value::Since(at)) => metric.encode_gauge(&at.elapsed().as_secs_f64()),
        (_, Value::Durations(recorded)) => {
            metric.encode_histogram::<NoLabelSet>(recorded.sum, recorded.count(), &recorded.buckets, None)
        }
    }
}
