//! What the kernel knows of a process.

use std::io;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::ClockId;
use nix::unistd::Pid;

/// Processor time that a process has had, of all its threads, also of those that have ended.
pub fn cpu(pid: u32) -> io::Result<Duration> {
    Ok(ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32))?.now()?.into())
}

/// Bytes of memory that a process has, exactly.
pub fn resident(pid: u32) -> io::Result<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    rss(&rollup).ok_or_else(|| io::Error::other("smaps_rollup has no Rss"))
}

fn rss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kilobytes: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// A processor for the servers, and another for the load.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub load: usize,
}

impl Cores {
    /// The first two that there are. If there is only one, it is both.
    pub fn find() -> io::Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let server = cores.next().ok_or_else(|| io::Error::other("no processor is allowed"))?;
        Ok(Self { server, load: cores.next().unwrap_or(server) })
    }

    pub fn shared(self) -> bool {
        self.server == self.load
    }
}

/// Keeps this thread, and what it starts, on one processor.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Allows as many open files as can be, here and in what is started. How many these are.
pub fn raise_descriptors() -> io::Result<usize> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    Ok(most.try_into().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn processor_time_is_that_of_all_threads_also_of_ended_ones() {
        let own = std::process::id();
        let before = cpu(own).unwrap();
        let work = Duration::from_millis(50);
        let spin = move || {
            let thread = ClockId::CLOCK_THREAD_CPUTIME_ID;
            while Duration::from(thread.now().unwrap()) < work {
                std::hint::black_box(Instant::now());
            }
        };
        std::thread::spawn(spin).join().unwrap();
        assert!(cpu(own).unwrap() - before >= work);
    }

    #[test]
    fn a_process_that_is_gone_has_no_processor_time() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(cpu(child.id()).is_err());
        assert!(resident(child.id()).is_err());
    }

    #[test]
    fn memory_is_read_from_the_rollup() {
        let rollup = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\nRss:                1740 kB\nPss:  9 kB\n";
        assert_eq!(rss(rollup), Some(1740 * 1024));
        assert_eq!(rss("Pss: 9 kB\n"), None);
        assert_eq!(rss("Rss: many kB\n"), None);
    }

    #[test]
    fn memory_grows_with_what_is_touched() {
        let own = std::process::id();
        let before = resident(own).unwrap();
        let block = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(resident(own).unwrap() >= before + (30 << 20));
        drop(block);
    }

    #[test]
    fn a_pinned_thread_stays() {
        let cores = Cores::find().unwrap();
        std::thread::spawn(move || {
            pin(cores.load).unwrap();
            let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
            assert_eq!(
                (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).collect::<Vec<_>>(),
                [cores.load]
            );
        })
        .join()
        .unwrap();
    }
}
