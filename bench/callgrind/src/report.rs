//! What callgrind has written about a run.

use std::collections::HashMap;
use std::ops::{AddAssign, Sub};

/// What a run has done, or one message of it.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Counts {
    /// Instructions in user mode.
    pub instructions: f64,
    /// Calls to the functions of libc that allocate; growing an allocation is one, too.
    pub allocations: f64,
    /// System calls but for those that read the clock, which are none outside of valgrind.
    pub syscalls: f64,
}

const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
const CLOCKS: [&str; 2] = ["clock_gettime", "gettimeofday"];

impl Counts {
    /// Returns what one message costs, if `twice` is a run with so many more of them than `self`.
    #[must_use]
    pub fn per(self, twice: Self, messages: usize) -> Self {
        let of = |once: f64, twice: f64| (twice - once) / messages as f64;
        Self {
            instructions: of(self.instructions, twice.instructions),
            allocations: of(self.allocations, twice.allocations),
            syscalls: of(self.syscalls, twice.syscalls),
        }
    }

    /// Reads a profile as `--callgrind-out-file` has it, made with `--collect-systime=yes`.
    ///
    /// Functions are named once, `fn=(7) malloc`, and are a number from then on, `cfn=(7)`. A call is two lines: the
    /// function, and `calls=3 …` with how often. `totals:` has the events in the order of `events:`.
    pub(crate) fn parse(profile: &str) -> Option<Self> {
        let (mut names, mut called) = (HashMap::new(), "");
        let (mut events, mut counts) = (None, Self::default());
        for line in profile.lines() {
            let Some((key, value)) = line.split_once(['=', ':']) else { continue };
            match key {
                "fn" | "cfn" => called = named(value, &mut names),
                "calls" => counts += Self::calls(called, value.split(' ').next()?.parse().ok()?),
                "events" => events = Some(value),
                "totals" => counts += Self::totals(events?, value)?,
                _ => {}
            }
        }
        (counts.instructions > 0.0).then_some(counts)
    }

    /// What calling a function means.
    fn calls(function: &str, times: f64) -> Self {
        // `clock_gettime@@GLIBC_2.17`.
        let function = function.split('@').next().unwrap_or_default();
        Self {
            allocations: if ALLOCATORS.contains(&function) { times } else { 0.0 },
            syscalls: if CLOCKS.contains(&function) { -times } else { 0.0 },
            ..Self::default()
        }
    }

    fn totals(events: &str, totals: &str) -> Option<Self> {
        let total = |event| {
            let place = events.split_whitespace().position(|name| name == event)?;
            totals.split_whitespace().nth(place)?.parse().ok()
        };
        Some(Self { instructions: total("Ir")?, syscalls: total("sysCount")?, ..Self::default() })
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.instructions += other.instructions;
        self.allocations += other.allocations;
        self.syscalls += other.syscalls;
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            instructions: self.instructions - other.instructions,
            allocations: self.allocations - other.allocations,
            syscalls: self.syscalls - other.syscalls,
        }
    }
}

/// The name behind `(7) malloc` or `(7)`.
fn named<'p>(value: &'p str, names: &mut HashMap<&'p str, &'p str>) -> &'p str {
    let (number, name) = value.split_once(' ').unwrap_or((value, ""));
    if name.is_empty() {
        return names.get(number).copied().unwrap_or("");
    }
    names.insert(number, name);
    name
}
