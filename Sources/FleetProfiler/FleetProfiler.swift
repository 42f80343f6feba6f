/// # FleetProfiler
///
/// What a live process can be asked about its inside: where its threads spend processor time, what its memory is, which
/// threads it has. It costs nothing until it is asked.
///
/// ```
///  GET /profile/cpu ──▶ CPUProfiler.take ── a timer on each thread's processor time (timer_create, SIGPROF)
///                          │  over and over                   │ tick, on that very thread
///                          │  new threads get a timer         ▼
///                          │  the ring is emptied ◀── CProfiler's handler: unwinds, puts one sample into the ring
///                          ▼
///                       stacks and their counts ──▶ Symbolizer ──▶ "thread;outer;inner count", a line for each stack
///                                     /proc/self/maps, ELF symbols, swift_demangle, FrameName
/// ```
///
/// A timer for each thread, and not one for the process: which thread gets a signal that is meant for the process depends on
/// the kernel (before Linux 6.4 mostly the main thread, whoever was busy), and two threads on two processors have their ticks
/// melted into one. A thread's own timer runs with its own processor time, so each thread's share is its own; its first
/// tick falls at random within the interval, so that threads which live shortly are neither missed nor preferred. The kernel
/// looks at such timers at its own ticks, mostly 250 a second: what is asked for beyond comes as one sample that stands for
/// several ticks, and the counts remain right.
///
/// Stacks are unwound by libgcc's `_Unwind_Backtrace`, along the tables that exceptions use. Frame pointers would be quicker,
/// but libpq, librabbitmq, OpenSSL and glibc are built without them, and a stack through those would lack callers or end in
/// nothing. Since glibc 2.35 the tables are found without lock or memory (`_dl_find_object`), so a handler may do it. Where a
/// function has no entry in them, as Swift's small ones that raise nothing, one step is made along the frame pointer, which Swift
/// keeps, with reads that cannot fault; then the tables lead on. What is
/// walked is the stack of the machine: an asynchronous function that was resumed stands below the executor that resumed it,
/// not below its caller.
enum FleetProfilerOverview {}
