//! What is counted is what was done.

use std::process::Command;

use bellwire_bench_callgrind::{Counts, Program, count};

/// What one round costs, so much work and so many allocations in it.
fn round(work: usize, allocations: usize) -> Counts {
    let run = |rounds: usize| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_known"));
        command.args([rounds, work, allocations].map(|number| number.to_string()));
        count(&command).expect("valgrind is installed")
    };
    run(100).per(run(200), 100)
}

#[test]
fn each_allocation_is_counted() {
    assert_eq!(round(0, 3).allocations - round(0, 0).allocations, 3.0);
}

#[test]
fn as_much_work_again_is_as_many_instructions_again() {
    let [once, twice, thrice] = [1000, 2000, 3000].map(|work| round(work, 0).instructions);
    assert!(twice - once >= 1000.0, "{once} {twice}");
    // Nothing but the work differs, and counting is exact.
    assert!((thrice - twice - (twice - once)).abs() < 0.5, "{once} {twice} {thrice}");
}

#[test]
fn a_system_call_is_counted_and_the_clock_is_not() {
    assert_eq!(round(0, 0).syscalls, 1.0);
}

#[test]
fn what_fails_is_told() {
    let failing = count(Command::new(env!("CARGO_BIN_EXE_known")).arg("nonsense"));
    assert!(failing.unwrap_err().to_string().contains("failed"));
    let plain = Program::start_plain(Command::new("sleep").arg("60")).unwrap();
    assert!(plain.end().unwrap_err().to_string().contains("nothing was counted"));
}
