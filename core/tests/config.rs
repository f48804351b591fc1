//! Configurations that cannot be meant so, and what is said of them.

use std::time::Duration;

use bellwire_core::Config;

const ZERO: Duration = Duration::ZERO;

#[track_caller]
fn refused(config: Config, text: &str) {
    let error = config.check().unwrap_err();
    assert_eq!(error.to_string(), text);
    assert!(text.contains(error.option()));
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn l12_the_defaults_and_what_is_switched_off_are_good() {
    let off = Config::default()
        .open_timeout(None)
        .handler_timeout(None)
        .close_timeout(None)
        .keepalive_interval(None)
        .pong_timeout(None)
        .idle_timeout(None);
    let long = Config::default().keepalive_interval(Duration::MAX).pong_timeout(Duration::MAX);
    // A peer that is not waited for, and one that may send nothing.
    let strict = Config::default().close_timeout(ZERO).linger_timeout(ZERO).max_message(0).max_queued(0);
    for config in [Config::default(), off, long, strict, Config::default().watermarks(0, 0)] {
        assert_eq!(config.check(), Ok(()));
    }
}

#[test]
fn l12_durations_of_zero_are_refused() {
    let advice = "set at least 10 ms, or None to switch it off";
    let config = Config::default;
    refused(config().keepalive_interval(ZERO), &format!("Config::keepalive_interval is 0ns: {advice}"));
    refused(config().pong_timeout(Duration::from_millis(9)), &format!("Config::pong_timeout is 9ms: {advice}"));
    refused(config().idle_timeout(Duration::from_nanos(1)), &format!("Config::idle_timeout is 1ns: {advice}"));
    let advice = "nothing is that fast: set some seconds, or None to wait for ever";
    refused(config().open_timeout(ZERO), &format!("Config::open_timeout is 0ns: {advice}"));
    refused(config().handler_timeout(ZERO), &format!("Config::handler_timeout is 0ns: {advice}"));
}

#[test]
fn l12_limits_that_cannot_work_are_refused() {
    refused(Config::default().max_head(63), "Config::max_head cannot work: no request is that short: set some KiB");
    let mut crossed = Config::default();
    crossed.low_watermark = crossed.high_watermark + 1;
    refused(
        crossed,
        "Config::low_watermark cannot work: set it to at most high_watermark: reading stops above that, and goes on \
         below this",
    );
}
