use super::*;

/// One cell, and the accesses to it.
#[derive(Default)]
struct Place {
    cell: [Cell; 1],
    shards: [Mutex<Lists>; 1],
}

impl Place {
    fn touch(&self, order: &Order, block: u32, thread: u32, touch: Touch) -> Option<Other> {
        let by = Toucher { order, shards: &self.shards, tag: 1, block, thread, clock: 1, fence: 0 };
        by.touch(&mut Held::default(), &self.cell, 0, 1, touch, &|| true, || ()).err().map(|race| race.other)
    }
}

#[test]
fn a_plain_write_is_kept_behind_the_same_threads_atomic() {
    let place = Place::default();
    let order = Order::new(0, 0);
    let add = Touch::StrongWrite(Scope::Device);
    assert_eq!(place.touch(&order, 0, 0, Touch::Write), None);
    assert_eq!(place.touch(&order, 0, 0, add), None);
    assert_eq!(place.touch(&order, 0, 1, add), Some(Other::Thread(0)));
}

#[test]
fn many_readers_are_noted_by_block() {
    let place = Place::default();
    for block in 0..200 {
        let order = Order::new(block, 0);
        for thread in 0..64 {
            assert_eq!(place.touch(&order, block, thread, Touch::Read), None);
        }
    }
    let order = Order::new(199, 0);
    assert!(place.touch(&order, 199, 0, Touch::Write).is_some());
    assert!(place.shards[0].lock().unwrap().all[0].groups.len() <= GROUPS + 1);
}

#[test]
fn who_has_seen_the_atomic_is_behind_it() {
    let place = Place::default();
    let (here, there) = (Order::new(0, 0), Order::new(1, 0));
    assert_eq!(place.touch(&here, 0, 0, Touch::StrongWrite(Scope::Device)), None);
    assert_eq!(place.touch(&there, 1, 0, Touch::Write), Some(Other::Elsewhere(0, 0)));
    assert_eq!(place.touch(&there, 1, 0, Touch::StrongRead(Scope::Device)), None);
    assert_eq!(place.touch(&there, 1, 0, Touch::Write), None);
}
