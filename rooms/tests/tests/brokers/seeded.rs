//! Joins, leaves, publications and faults by a seed, over three nodes that are processes, and a model that says what
//! their members may have got and what they must.
//!
//! Nothing comes twice, nothing out of order, nothing that was published after a member had left, and nothing is lost
//! but for what the documentation names:
//!
//! - between the first join of a room on a node and the broker's confirmation,
//! - what was not yet delivered when the connection of a member's node was lost, until its gap was told,
//! - what has another outcome than `Ok`.
//!
//! With a history the second is no loss either, and no gap is told but of rooms that were new when the connection was lost.
//!
//! `BELLWIRE_SEED=7` runs that seed alone; `BELLWIRE_STEPS=1000` takes so many steps.

mod check;
mod model;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use bellwire_rooms_tests::{Broker, Kind, Node, Random, Relay, Way, wait_until};

use self::model::{Model, Outcome};
use crate::processes::{NODE, ROOMS};
use crate::site::on_each_broker;

on_each_broker! {
    nothing_is_doubled_or_out_of_order_and_only_what_may_be_is_lost
    with_a_history_a_lost_connection_costs_nothing
}

const SEEDS: [u64; 3] = [1, 2, 3];
const STEPS: usize = 150;
/// No run takes longer, on a slow machine either, unless it is told how many steps to take.
const ENOUGH: Duration = Duration::from_secs(12);

const NODES: usize = 3;
const NAMES: [&str; 3] = ["red", "green", "blue"];

fn nothing_is_doubled_or_out_of_order_and_only_what_may_be_is_lost(kind: Kind) {
    run_seeds(kind, false);
}

fn with_a_history_a_lost_connection_costs_nothing(kind: Kind) {
    run_seeds(kind, true);
}

fn run_seeds(kind: Kind, history: bool) {
    let given = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    let (steps, enough) = given("BELLWIRE_STEPS").map_or((STEPS, ENOUGH), |steps| (steps as usize, Duration::MAX));
    let seeds = given("BELLWIRE_SEED").map_or(SEEDS.to_vec(), |seed| vec![seed]);
    for seed in seeds {
        let mut run = Run::new(kind, history, seed);
        let result = catch_unwind(AssertUnwindSafe(|| run.go(steps, enough)));
        let what = run.story.join("\n");
        if let Err(panic) = result {
            eprintln!("{kind:?}, history {history}: BELLWIRE_SEED={seed}\n{what}");
            resume_unwind(panic);
        }
        println!("{kind:?}, history {history}, seed {seed}: {}", run.model.summary());
    }
}

/// Three nodes, each with its own way to the broker.
struct Run {
    random: Random,
    broker: Broker,
    slots: Vec<Slot>,
    history: bool,
    model: Model,
    /// What was done, for whoever looks for a fault.
    story: Vec<String>,
}

/// The place of a node: another comes to it when one was killed.
struct Slot {
    node: Node,
    relay: Relay,
    /// How many of its lines were read.
    read: usize,
    /// Which of all nodes it is.
    life: usize,
    outage: Option<Outage>,
    away: usize,
    gaps: usize,
}

/// A node has no connection.
struct Outage {
    away: usize,
    gaps: usize,
}

impl Run {
    fn new(kind: Kind, history: bool, seed: u64) -> Self {
        let broker = if history { Broker::with_history(kind) } else { Broker::start(kind) };
        let mut model = Model::new(kind == Kind::Redis || history, history);
        let slots = (0..NODES).map(|slot| {
            let relay = Relay::to(broker.port());
            let node = start(&broker, &relay, slot, history);
            Slot { node, relay, read: 0, life: model.new_life(), outage: None, away: 0, gaps: 0 }
        });
        let slots = slots.collect();
        Self { random: Random::new(seed), broker, slots, history, model, story: Vec::new() }
    }

    fn go(&mut self, steps: usize, enough: Duration) {
        let start = Instant::now();
        (0..NODES).for_each(|slot| self.wait_connected(slot));
        for _ in 0..steps {
            self.step();
            if start.elapsed() > enough {
                break;
            }
        }
        self.heal();
        self.settle();
        self.quiesce();
        self.model.check();
    }

    fn tell(&mut self, what: String) {
        self.story.push(what);
    }

    fn step(&mut self) {
        match self.random.within(0..100) {
            0..25 => self.join(),
            25..35 => self.leave(),
            35..75 => self.publish(),
            75..85 => self.settle(),
            85..88 => self.quiesce(),
            88..90 => self.kill_node(),
            90..92 => self.lose_broker(),
            92..95 => self.cut(),
            95..97 => self.pause_node(),
            97..99 => self.hold(),
            _ => self.pause_broker(),
        }
    }

    fn join(&mut self) {
        let (slot, room) = (self.random.within(0..NODES), self.random.within(0..NAMES.len()));
        let member = self.model.join(slot, room);
        let (name, room) = (format!("m{member}"), NAMES[room]);
        self.tell(format!("join {name} {room} on {slot}"));
        self.slots[slot].node.ask(format!("join {name} {room}"), &format!("joined {name} {room}"));
    }

    fn leave(&mut self) {
        let Some(member) = self.model.some_member(&mut self.random) else { return };
        if self.random.once_in(2) {
            self.quiesce();
        }
        let (slot, room) = self.model.place(member);
        let (name, room) = (format!("m{member}"), NAMES[room]);
        let node = &mut self.slots[slot].node;
        if self.random.once_in(2) {
            assert_eq!(node.ask(format!("leave {name} {room}"), &format!("left {name} {room}")), "true");
        } else {
            node.ask(format!("end {name}"), &format!("ended {name}"));
        }
        self.tell(format!("leave {name} {room} on {slot}"));
        self.model.leave(member);
    }

    /// A burst, from one node to one room or from all to any.
    fn publish(&mut self) {
        let (one, mixed) = (self.random.within(0..NODES), self.random.once_in(2));
        let room = self.random.within(0..NAMES.len());
        let mut numbers = Vec::new();
        for _ in 0..self.random.within(1..20) {
            let slot = if mixed { self.random.within(0..NODES) } else { one };
            let room = if mixed { self.random.within(0..NAMES.len()) } else { room };
            let number = self.model.publish(slot, self.slots[slot].life, room);
            self.slots[slot].node.tell(format!("publish {number} {} {number}", NAMES[room]));
            numbers.push(format!("{number}@{slot}>{}", NAMES[room]));
        }
        self.tell(format!("publish {}", numbers.join(" ")));
    }

    /// Takes note of what nodes have printed.
    fn read(&mut self) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let lines = slot.node.process().lines_after(slot.read);
            slot.read += lines.len();
            for line in lines {
                let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
                match what {
                    "got" => self.model.got(rest, self.history),
                    "outcome" => self.model.outcome(rest),
                    "away" => slot.away += 1,
                    "gap" => {
                        slot.gaps += 1;
                        let mut missed = (0..NAMES.len()).filter(|&room| rest.contains(NAMES[room]));
                        let is_right = !self.history || missed.all(|room| self.model.may_miss(number, room));
                        assert!(is_right, "a gap, where there is a history, on {number}: {rest}");
                        self.story.push(format!("a gap on {}: {rest}", slot.life));
                    }
                    "connected" | "joined" | "left" | "ended" => (),
                    _ => panic!("a node says: {line}"),
                }
            }
        }
    }

    /// Waits until all that must come has come.
    fn quiesce(&mut self) {
        let end = Instant::now() + bellwire_rooms_tests::PATIENCE;
        loop {
            self.read();
            let missing = self.model.missing();
            if missing.is_empty() {
                return self.tell("all is there".to_owned());
            }
            assert!(Instant::now() < end, "lost: {missing:#?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until the broker knows which nodes have which rooms.
    fn settle(&mut self) {
        if self.slots.iter().any(|slot| slot.outage.is_some()) {
            return;
        }
        let expected = self.model.subscriptions(|room| format!("{ROOMS}{}", NAMES[room]));
        let mut found = Default::default();
        let settled = bellwire_rooms_tests::look_for(|| {
            found = self.broker.channels(ROOMS);
            (found == expected).then_some(())
        });
        assert!(settled.is_some(), "the broker has {found:?}, not {expected:?}");
        self.model.settled();
        self.tell("settled".to_owned());
    }

    fn kill_node(&mut self) {
        let slot = self.random.within(0..NODES);
        if self.slots[slot].outage.is_some() {
            return;
        }
        if self.random.once_in(2) {
            self.quiesce();
        }
        self.slots[slot].node.process().kill();
        self.read();
        let life = self.slots[slot].life;
        self.model.killed(slot, life);
        self.tell(format!("kill {slot}, which was {life}"));
        let node = start(&self.broker, &self.slots[slot].relay, slot, self.history);
        let life = self.model.new_life();
        let place = &mut self.slots[slot];
        (place.node, place.life, place.read, place.away, place.gaps) = (node, life, 0, 0, 0);
        self.wait_connected(slot);
    }

    /// It is gone for some steps, with what is published meanwhile.
    fn lose_broker(&mut self) {
        self.heal();
        if self.random.once_in(2) {
            self.quiesce();
        }
        (0..NODES).for_each(|slot| self.outage_begins(slot));
        if self.random.once_in(2) {
            self.broker.stop();
        } else {
            self.broker.kill();
        }
        self.tell("the broker is gone".to_owned());
        self.meanwhile();
        (0..NODES).for_each(|slot| self.wait_away(slot));
        self.broker.restart();
        self.tell("the broker is back".to_owned());
        self.heal();
    }

    /// One node has no broker, for a while: others do.
    fn cut(&mut self) {
        let slot = self.random.within(0..NODES);
        if self.slots[slot].outage.is_some() {
            return self.heal();
        }
        if self.random.once_in(2) {
            self.quiesce();
        }
        self.outage_begins(slot);
        self.tell(format!("{slot} is cut off"));
        self.slots[slot].relay.set(Way::Cut);
        self.meanwhile();
        if self.random.once_in(3) {
            self.heal();
        }
    }

    /// A broker that is slow costs nothing.
    fn hold(&mut self) {
        let slot = self.random.within(0..NODES);
        if self.slots[slot].outage.is_some() {
            return;
        }
        let way = *self.random.one(&[Way::Held, Way::Slow]);
        self.slots[slot].relay.set(way);
        self.tell(format!("{slot} is held"));
        self.meanwhile();
        self.slots[slot].relay.set(Way::Open);
    }

    fn pause_broker(&mut self) {
        self.broker.pause();
        self.tell("the broker is paused".to_owned());
        self.meanwhile();
        self.broker.resume();
    }

    fn pause_node(&mut self) {
        let slot = self.random.within(0..NODES);
        self.slots[slot].node.process().pause();
        self.tell(format!("{slot} is paused"));
        self.publish();
        self.slots[slot].node.process().resume();
    }

    fn meanwhile(&mut self) {
        for _ in 0..self.random.within(0..4) {
            match self.random.within(0..6) {
                0 => self.join(),
                1 => self.leave_now(),
                _ => self.publish(),
            }
        }
    }

    fn leave_now(&mut self) {
        let Some(member) = self.model.some_member(&mut self.random) else { return };
        let (slot, room) = self.model.place(member);
        let (name, room) = (format!("m{member}"), NAMES[room]);
        self.slots[slot].node.ask(format!("leave {name} {room}"), &format!("left {name} {room}"));
        self.tell(format!("leave {name} {room} on {slot}"));
        self.model.leave(member);
    }

    fn outage_begins(&mut self, slot: usize) {
        self.read();
        self.model.outage_begins(slot, self.slots[slot].life);
        let place = &mut self.slots[slot];
        place.outage = Some(Outage { away: place.away, gaps: place.gaps });
    }

    fn wait_away(&mut self, slot: usize) {
        let Some(before) = self.slots[slot].outage.as_ref().map(|outage| outage.away) else { return };
        wait_until("a node that has lost its connection", || {
            self.read();
            self.slots[slot].away > before
        });
    }

    fn wait_connected(&mut self, slot: usize) {
        wait_until("a node that is connected", || self.slots[slot].node.ask("connected", "connected") == "true");
    }

    /// All nodes have the broker again, and were told of one gap each.
    fn heal(&mut self) {
        for slot in 0..NODES {
            self.wait_away(slot);
            let Some(outage) = self.slots[slot].outage.take() else { continue };
            self.slots[slot].relay.set(Way::Open);
            // With a history there is none to be told of.
            if self.model.has_rooms(slot) && !self.history {
                wait_until("a gap that is told", || {
                    self.read();
                    self.slots[slot].gaps > outage.gaps
                });
            }
            self.wait_connected(slot);
            self.read();
            let told = self.slots[slot].gaps - outage.gaps;
            assert!(told <= 1 || self.history, "{told} gaps of one outage on {slot}");
            self.model.outage_ends(slot);
            self.tell(format!("{slot} is connected again"));
        }
        self.check_doubts();
    }

    /// As many messages were said to be in doubt as have this outcome.
    fn check_doubts(&mut self) {
        for slot in &mut self.slots {
            let gaps = slot.node.all("gap");
            let doubts = gaps.iter().map(|gap| gap.split(' ').next().unwrap().parse::<usize>().unwrap());
            assert_eq!(doubts.sum::<usize>(), self.model.count(slot.life, Outcome::Lost), "{gaps:?}");
        }
    }
}

/// The first keeps what is published during an outage, the others refuse it.
fn start(broker: &Broker, relay: &Relay, slot: usize, history: bool) -> Node {
    let mut options = vec!["answer=20000"];
    options.extend((slot == 0).then_some("keep"));
    options.extend(history.then_some("history"));
    Node::start(NODE, &broker.url_at(relay.port()), &options)
}
