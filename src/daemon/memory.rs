//! Memory that a start or a reload has freed goes back to the system.
//!
//! The allocator keeps it for a second, and gives it back when it is asked for much memory or when a thread ends. A
//! broker without traffic does neither.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

/// Longer than the allocator keeps memory.
const KEPT: Duration = Duration::from_secs(2);

/// Gives back what is free by now, in two seconds. Needs the runtime.
pub(super) fn give_back_soon() {
    tokio::spawn(async {
        tokio::time::sleep(KEPT).await;
        // The allocator knows a thread only after it has allocated.
        let ends = thread::Builder::new().name("memory".to_owned()).spawn(|| drop(black_box(Box::new(0_u8))));
        // If there is none, the memory stays until there is traffic.
        drop(ends);
    });
}
