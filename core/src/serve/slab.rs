//! Values in one piece of memory, each in a place of its own.

use alloc::vec::Vec;

/// Keeps values by small numbers: a connection costs its registry one entry here, where a tree needs two to three
/// times as much.
pub(super) struct Slab<T> {
    /// A place that is taken may hold nothing yet.
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

/// A place in a slab, from [`Slab::enter`] to [`Slab::leave`].
#[derive(Debug)]
pub(crate) struct Place(u32);

/// Where a value was, for who does not own its [`Place`]: another one may be there when it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u32);

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Takes a place, which holds nothing yet.
    pub(super) fn enter(&mut self) -> Place {
        Place(self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            // More tasks than that fit into no memory.
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        }))
    }

    /// Gives a place back, and returns what it held. The last one gives back the memory of all.
    pub(super) fn leave(&mut self, place: Place) -> Option<T> {
        let value = self.value(&place).and_then(Option::take);
        self.free.push(place.0);
        if self.len() == 0 {
            *self = Self::default();
        }
        value
    }

    /// Sets what a place holds, and returns what it held.
    pub(super) fn set(&mut self, place: &Place, value: T) -> Option<T> {
        self.value(place).and_then(|held| held.replace(value))
    }

    /// Returns how many places are taken.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Returns what all the places hold.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    /// Returns where there is a value.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        (0..).zip(&self.places).filter(|(_, value)| value.is_some()).map(|(number, _)| Key(number))
    }

    /// Returns what is there now.
    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.places.get(key.0 as usize)?.as_ref()
    }

    fn value(&mut self, place: &Place) -> Option<&mut Option<T>> {
        self.places.get_mut(place.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[test]
    fn places_are_used_again_and_the_last_gives_back_the_memory() {
        let mut slab = Slab::default();
        let [first, second, third] = [(); 3].map(|()| slab.enter());
        assert_eq!((slab.set(&first, 'a'), slab.set(&third, 'c'), slab.set(&third, 'd')), (None, None, Some('c')));
        assert_eq!((slab.len(), slab.values().collect::<String>()), (3, "ad".into()));
        let keys: alloc::vec::Vec<_> = slab.keys().collect();
        assert_eq!(keys, [Key(0), Key(2)]);
        assert_eq!(slab.leave(first), Some('a'));
        let fourth = slab.enter();
        slab.set(&fourth, 'e');
        assert_eq!((slab.len(), slab.values().collect::<String>()), (3, "ed".into()));
        assert_eq!([keys[0], Key(1), keys[1], Key(3)].map(|key| slab.get(key)), [Some(&'e'), None, Some(&'d'), None]);
        assert_eq!((slab.leave(second), slab.leave(third), slab.leave(fourth)), (None, Some('d'), Some('e')));
        assert_eq!((slab.len(), slab.places.capacity(), slab.free.capacity()), (0, 0, 0));
        assert_eq!((slab.get(keys[0]), slab.keys().count()), (None, 0));
    }
}
