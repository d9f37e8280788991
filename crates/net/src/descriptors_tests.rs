use super::*;
use crate::tests::{left, limited};

#[test]
fn what_is_announced_follows_what_is_in_use() {
    let mut descriptors = Descriptors::announce(limited(100)).unwrap();
    assert_eq!(left(), 100 - KEPT - PER_REQUEST);
    let first = Counted::new(&descriptors.in_use.requests);
    assert!(descriptors.make_room());
    assert_eq!(left(), 100 - KEPT - 2 * PER_REQUEST);
    let connection = Counted::new(&descriptors.in_use.connections);
    drop(first);
    descriptors.take_back();
    assert_eq!(left(), 100 - KEPT - 1 - PER_REQUEST);
    drop(connection);
    let stray = Counted::new(&descriptors.in_use.strays);
    descriptors.take_back();
    assert_eq!(left(), 100 - KEPT - PER_STRAY - PER_REQUEST);
    drop((stray, descriptors));
    assert_eq!(left(), 100);
}

#[test]
fn without_room_nothing_stays_announced_and_later_there_is_room_again() {
    assert!(Descriptors::announce(limited(KEPT + PER_REQUEST - 1)).is_none());
    assert_eq!(left(), KEPT + PER_REQUEST - 1);
    let mut descriptors = Descriptors::announce(limited(KEPT + PER_REQUEST + 1)).unwrap();
    let first = Counted::new(&descriptors.in_use.requests);
    assert!(!descriptors.make_room());
    drop(first);
    assert!(descriptors.make_room(), "one request at a time always has room");
}
