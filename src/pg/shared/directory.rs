//! Which account stands where: found by a hash, so that a look costs the same with one account and with a million.
//!
//! It lives in shared memory, but nothing here knows that.

/// A place of the table, by its number and one more; 0: none.
type Link = u32;

/// Of one place: the next with the same hash, and the chain that it stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Place {
    next: Link,
    /// Number of the chain and one more; 0: it stands in none.
    chain: u32,
}

impl Place {
    pub const FREE: Place = Place { next: 0, chain: 0 };
}

/// What has been used of the places, and where the search for one to be used again goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Uses {
    /// Places from here on have never been used.
    pub used: usize,
    hand: usize,
}

impl Uses {
    pub const NONE: Uses = Uses { used: 0, hand: 0 };
}

/// What stands in a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tenant {
    /// Nothing.
    None,
    /// It may go; when it was used last.
    MayGo(i64),
    Stays,
}

/// Of so many places that are looked at together, the one goes that was not used for longest.
const TOGETHER: usize = 64;

/// The whole, for as long as its lock is held.
pub struct Directory<'a> {
    pub uses: &'a mut Uses,
    /// As many as there are places.
    pub chains: &'a mut [Link],
    pub places: &'a mut [Place],
}

impl Directory<'_> {
    fn chain(&self, hash: u64) -> usize {
        // The upper bits of a product are made of all bits of its factor.
        let spread = u128::from(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        ((spread * self.chains.len() as u128) >> 64) as usize
    }

    /// The place for which `is_it`, among those taken with this hash.
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut link = self.chains[self.chain(hash)];
        while link != 0 {
            let index = link as usize - 1;
            if is_it(index) {
                return Some(index);
            }
            link = self.places[index].next;
        }
        None
    }

    /// A place to be had under this hash: one never used, else one whose tenant may go. `None`: all stay.
    pub fn take(&mut self, hash: u64, mut tenant: impl FnMut(usize) -> Tenant) -> Option<usize> {
        let index = self.unused().or_else(|| self.left(&mut tenant))?;
        self.unlink(index);
        let chain = self.chain(hash);
        self.places[index] = Place { next: self.chains[chain], chain: chain as u32 + 1 };
        self.chains[chain] = index as Link + 1;
        Some(index)
    }

    fn unused(&mut self) -> Option<usize> {
        let index = self.uses.used;
        (index < self.places.len()).then(|| {
            self.uses.used += 1;
            index
        })
    }

    fn left(&mut self, tenant: &mut impl FnMut(usize) -> Tenant) -> Option<usize> {
        let count = self.places.len();
        let mut looked = 0;
        while looked < count {
            let mut oldest: Option<(i64, usize)> = None;
            for _ in 0..TOGETHER.min(count - looked) {
                let index = self.uses.hand % count;
                (self.uses.hand, looked) = (index + 1, looked + 1);
                match tenant(index) {
                    Tenant::None => return Some(index),
                    Tenant::MayGo(used) if oldest.is_none_or(|(least, _)| used < least) => {
                        oldest = Some((used, index));
                    }
                    _ => {}
                }
            }
            if oldest.is_some() {
                return oldest.map(|(_, index)| index);
            }
        }
        None
    }

    fn unlink(&mut self, index: usize) {
        let Some(chain) = (self.places[index].chain as usize).checked_sub(1) else { return };
        let (own, next) = (index as Link + 1, self.places[index].next);
        if self.chains[chain] == own {
            self.chains[chain] = next;
            return;
        }
        let mut link = self.chains[chain];
        while link != 0 {
            let place = &mut self.places[link as usize - 1];
            if place.next == own {
                place.next = next;
                return;
            }
            link = place.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Accounts by place: hash, and when it was used; and how many places were looked at.
    struct Accounts {
        uses: Uses,
        chains: Vec<Link>,
        places: Vec<Place>,
        tenants: Vec<(u64, Tenant)>,
        looks: usize,
    }

    impl Accounts {
        fn new(count: usize) -> Accounts {
            let tenants = vec![(0, Tenant::None); count];
            let (chains, places) = (vec![0; count], vec![Place::FREE; count]);
            Accounts { uses: Uses::NONE, chains, places, tenants, looks: 0 }
        }

        fn open(&mut self, hash: u64, used: i64) -> Option<usize> {
            let Accounts { uses, chains, places, tenants, looks } = self;
            let mut directory = Directory { uses, chains, places };
            let found = directory.find(hash, |index| {
                *looks += 1;
                tenants[index].1 != Tenant::None && tenants[index].0 == hash
            });
            let index = found.or_else(|| {
                directory.take(hash, |index| {
                    *looks += 1;
                    tenants[index].1
                })
            })?;
            tenants[index] = (hash, Tenant::MayGo(used));
            Some(index)
        }
    }

    #[test]
    fn a_look_costs_the_same_with_a_million_places() {
        let mut accounts = Accounts::new(1_000_000);
        for hash in 0..20_000 {
            accounts.open(hash, 0).unwrap();
        }
        accounts.looks = 0;
        for hash in 0..20_000 {
            accounts.open(hash, 1).unwrap();
        }
        assert!(accounts.looks < 25_000, "{} places looked at for 20,000 accounts", accounts.looks);
        assert_eq!(accounts.uses.used, 20_000);
    }

    #[test]
    fn a_full_table_gives_the_place_of_one_that_may_go_after_few_looks() {
        let mut accounts = Accounts::new(10_000);
        for hash in 0..10_000 {
            assert_eq!(accounts.open(hash, hash as i64), Some(hash as usize));
        }
        accounts.looks = 0;
        for hash in 10_000..11_000 {
            accounts.open(hash, hash as i64).unwrap();
        }
        assert!(accounts.looks < 1_000 * (TOGETHER + 4), "{}", accounts.looks);
        // Each stands where it was put, and those whose places were taken are gone.
        for (index, (hash, _)) in accounts.tenants.clone().into_iter().enumerate() {
            let (uses, chains, places) = (&mut accounts.uses, &mut accounts.chains, &mut accounts.places);
            let tenants = &accounts.tenants;
            let directory = Directory { uses, chains, places };
            assert_eq!(directory.find(hash, |at| tenants[at].0 == hash), Some(index));
        }
    }

    #[test]
    fn one_that_stays_is_never_taken() {
        let mut accounts = Accounts::new(16);
        for hash in 0..16 {
            accounts.open(hash, 0).unwrap();
        }
        accounts.tenants.iter_mut().for_each(|tenant| tenant.1 = Tenant::Stays);
        assert_eq!(accounts.open(99, 0), None);
        accounts.tenants[7].1 = Tenant::MayGo(5);
        assert_eq!(accounts.open(99, 0), Some(7));
        accounts.tenants[3].1 = Tenant::None;
        assert_eq!(accounts.open(100, 0), Some(3));
        assert_eq!((accounts.open(99, 0), accounts.open(100, 0)), (Some(7), Some(3)));
    }
}
