//! What is so of everything that members have got.

use std::collections::{BTreeSet, HashMap};

use super::model::{Member, Model, Outcome};

impl Model {
    /// Nothing came that must not, nothing twice, and everything in order.
    pub(super) fn check(&self) {
        for (name, member) in self.members.iter().enumerate() {
            self.check_belonging(name, member);
            check_doubles(name, member);
            self.check_publishers_order(name, member);
            check_positions(name, member);
        }
        if self.one_order {
            self.check_one_order();
        }
    }

    fn check_belonging(&self, name: usize, member: &Member) {
        for &(_, number) in &member.got {
            let message = &self.messages[number];
            assert_eq!(message.room, member.room, "m{name} has got {number} of another room");
            let before = member.left_at.is_none_or(|left| message.at < left);
            assert!(before, "m{name} has got {number}, which was published after it had left");
            assert!(message.outcome() != Some(Outcome::Unavailable), "m{name} has got {number}, which was refused");
        }
    }

    /// Each publisher's messages come in the order in which it has published them.
    fn check_publishers_order(&self, name: usize, member: &Member) {
        let mut last = HashMap::new();
        for &(_, number) in &member.got {
            let before = last.insert(self.messages[number].life, number);
            assert!(before < Some(number), "m{name} has got {number} after {before:?} of the same publisher");
        }
    }

    /// What two members of a room have both got, they have got in the same order.
    fn check_one_order(&self) {
        for (first_name, first) in self.members.iter().enumerate() {
            let places: HashMap<_, _> =
                first.got.iter().enumerate().map(|(place, &(_, number))| (number, place)).collect();
            for (second_name, second) in self.members.iter().enumerate().skip(first_name + 1) {
                let common: Vec<_> = second.got.iter().filter_map(|(_, number)| places.get(number)).collect();
                assert!(common.is_sorted(), "m{first_name} and m{second_name} have seen different orders");
            }
        }
    }
}

fn check_doubles(name: usize, member: &Member) {
    let mut seen = BTreeSet::new();
    for &(_, number) in &member.got {
        assert!(seen.insert(number), "m{name} has got {number} twice");
    }
}

fn check_positions(name: usize, member: &Member) {
    let ordered = member.got.windows(2).all(|pair| pair[0].0.is_none() || pair[0].0 < pair[1].0);
    assert!(ordered, "m{name} has got positions that do not rise: {:?}", member.got);
}
