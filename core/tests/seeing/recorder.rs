//! A recorder that keeps everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// Everything that was recorded, by name and labels.
#[derive(Clone, Default)]
pub(crate) struct Recording(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    values: BTreeMap<String, Vec<f64>>,
    described: BTreeMap<String, (String, Option<Unit>)>,
}

impl Recording {
    /// Runs this, and returns what was recorded of it.
    pub(crate) fn of<T>(act: impl FnOnce(&Self) -> T) -> (Self, T) {
        let recording = Self::default();
        let result = metrics::with_local_recorder(&recording, || act(&recording));
        (recording, result)
    }

    /// What a counter or a gauge stands at: 0 if there is no such.
    pub(crate) fn value(&self, key: &str) -> f64 {
        self.values(key).iter().sum()
    }

    /// What was recorded, one after the other.
    pub(crate) fn values(&self, key: &str) -> Vec<f64> {
        self.0.lock().unwrap().values.get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().values.keys().cloned().collect()
    }

    /// What was described, and its unit.
    pub(crate) fn described(&self) -> BTreeMap<String, (String, Option<Unit>)> {
        self.0.lock().unwrap().described.clone()
    }

    fn describe(&self, kind: &str, name: &KeyName, unit: Option<Unit>) {
        self.0.lock().unwrap().described.insert(name.as_str().into(), (kind.into(), unit));
    }

    fn meter(&self, key: &Key) -> Arc<Meter> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Meter(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }
}

struct Meter(Recording, String);

impl Meter {
    fn add(&self, value: f64) {
        self.0.0.lock().unwrap().values.entry(self.1.clone()).or_default().push(value);
    }
}

impl CounterFn for Meter {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {
        panic!("counters are added to");
    }
}

impl GaugeFn for Meter {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        panic!("connections of several servers share a gauge");
    }
}

impl HistogramFn for Meter {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("counter", &name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("gauge", &name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe("histogram", &name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.meter(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.meter(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.meter(key))
    }
}
