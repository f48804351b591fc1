//! Many nodes and a broker, in virtual time, with whatever can happen to them. The same seed does the same.

mod node;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::node::{HEARTBEAT, ROOMS};
use self::world::{DELAY, World};
use super::pace::Pace;

/// What can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Losses {
    /// Only what is on its way on a connection that ends.
    WithConnection,
    /// Anything, while there are faults.
    Anywhere,
}

/// How long it may take until all is right, by what `presence` promises, and what messages take on their way.
fn documented(losses: Losses) -> Duration {
    let pace = Pace::new(HEARTBEAT);
    let (spread, batch, trips) = (pace.spread(ROOMS.len()), pace.batch, 10 * DELAY);
    trips
        + match losses {
            Losses::WithConnection => 3 * HEARTBEAT + 2 * spread + 6 * batch,
            Losses::Anywhere => 8 * HEARTBEAT + 2 * spread + 6 * batch,
        }
}

fn simulate(seed: u64, losses: Losses) {
    let mut world = World::new(seed);
    let faults = Duration::from_secs(world.random.number() % 60);
    world.is_lossy = losses == Losses::Anywhere;
    world.run(faults, |world| {
        if world.chance(4) {
            world.fault();
        } else {
            world.stir();
        }
    });
    world.heal();
    // Life goes on until shortly before it is looked at.
    let last = 5 * Pace::new(HEARTBEAT).batch + 6 * DELAY;
    world.run(documented(losses) - last, |world| {
        if world.chance(8) {
            world.stir();
        }
    });
    world.run(last, |_| {});
    let errors = world.errors();
    assert!(errors.is_empty(), "{losses:?} {seed}: {errors:#?}");
    // And when nothing changes any more, everything has been told.
    world.run(Duration::from_secs(2), |_| {});
    for node in &world.nodes {
        for room in ROOMS {
            let told = node.told.get(room).into_iter().flatten().cloned().collect::<Vec<_>>();
            assert_eq!(told, node.presence.present(room));
        }
    }
}

#[test]
fn all_is_right_in_time_after_connections_were_lost() {
    (0..100).for_each(|seed| simulate(seed, Losses::WithConnection));
}

#[test]
fn all_is_right_in_time_after_anything_was_lost() {
    (0..100).for_each(|seed| simulate(seed, Losses::Anywhere));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_is_right_in_time_whatever_happens(seed: u64, anything_is_lost: bool) {
        simulate(seed, if anything_is_lost { Losses::Anywhere } else { Losses::WithConnection });
    }
}
