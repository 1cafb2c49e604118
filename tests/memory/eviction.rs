//! Whether eviction keeps up where several threads write the same keys again and again, which has stopped it for good in
//! older versions of moka (its issue 590).

use crate::sample::{self, SMALL, Shape};
use crate::{MIB, now, soak};
use freshgate::semantics::cache_status::Detail;
use freshgate::store::Store;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

const MEMORY: u64 = 16 * MIB;

const THREADS: usize = 4;

/// Far more than there is room for, and few enough that each is written again and again.
const KEYS: usize = 40_000;
const FEW: usize = 16;

/// More responses than fit, each with 300 octets at least.
const MOST: usize = MEMORY as usize / 600;

const SHAPES: [Shape; 4] = [
    SMALL,
    Shape { body: 2048, ..SMALL },
    Shape { vary: Some("Accept-Language"), ..SMALL },
    Shape { storable: false, ..SMALL },
];

#[test]
fn eviction_keeps_up_with_threads_that_write_the_same_keys() {
    let (store, route, long) = (Store::new(MEMORY, 1), sample::route(), soak(8));
    let (began, contents, most) = (now(), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, route, contents, most) = (&store, &route, &contents, &most);
            scope.spawn(move || {
                for turn in (0_usize..).take_while(|_| now().since(began) < long) {
                    // Every other write is to one of a few keys; of the others, each thread has an order of its own.
                    let number = turn.wrapping_mul(7919 + 2 * thread);
                    let number = if turn % 2 == 0 { number % FEW } else { number % KEYS };
                    let content = contents.fetch_add(1, Relaxed);
                    let put = sample::put(store, route, &SHAPES[number % SHAPES.len()], number, content);
                    assert!(matches!(put, Ok(()) | Err(Detail::NearlyFull)), "{put:?}");
                    if turn % 10_000 == 0 {
                        // Counted one by one: asking for the figures would do the work that is to do itself.
                        most.fetch_max(store.count(|_| true), Relaxed);
                    }
                }
            });
        }
    });
    let (writes, most) = (contents.load(Relaxed), most.load(Relaxed));
    println!("{writes} writes in {:?}: at most {most} responses were held", now().since(began));
    let (entries, bytes) = store.figures();
    println!("{entries} entries of {bytes} bytes are left of {MEMORY}");
    assert!(most < MOST, "{most} responses");
    assert!(bytes <= MEMORY && bytes > MEMORY / 2, "{bytes} bytes");
}
