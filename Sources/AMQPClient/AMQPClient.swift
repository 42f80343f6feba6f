/// `AMQPClient`: librabbitmq in Swift. It moves messages and knows nothing of jobs.
///
/// Three things to use: ``AMQPConsumer`` (deliveries in, acknowledgements out), ``AMQPPublisher`` (messages out, confirms
/// in) and ``AMQPSession`` (short-lived, for administration). Consuming and publishing never share a connection, since an
/// alarm of the broker stops the publishing ones.
///
/// ```
///  task                     shared, under a short lock            IO thread: the only owner of the connection
///  ----                     --------------------------            --------------------------------------------
///  deliveries.next() <───── DeliveryBuffer  <──── batches ─────── ChannelMachine <── FrameReader <── librabbitmq <── socket
///  acknowledge(tags) ─────> ConsumerInbox   ──── batches ───────> AckTracker ─────> MethodEncoder ─> Outbound ─────> socket
///
///  publish(messages) ─────> PublisherInbox  ──── batches ───────> ConfirmTracker ─> MethodEncoder ─> Outbound ─────> socket
///       <── one continuation per batch ────────────────────────── ConfirmTracker <── ChannelMachine <── librabbitmq <─ socket
///                               │
///                            Wakeup (eventfd): one write per batch, polled beside the socket
/// ```
///
/// - Nothing crosses a thread once per message: arrays go in, arrays come out.
/// - ``LinkDriver`` connects, polls, keeps heartbeats, notices stalls, and connects again with full jitter. What is
///   particular to consuming or publishing is a ``LinkRole``.
/// - What decides is pure and tested without a broker: ``ChannelMachine``, ``AckTracker``, ``ConfirmTracker``,
///   ``MethodEncoder``, ``BackoffSchedule``. What touches C is ``RabbitConnection`` and ``FrameReader``.
/// - librabbitmq logs in, calls, decodes, and carries TLS. On plain TCP the module writes the encoded frames itself, a whole
///   batch with one `send`, because the library's sends block, cost a system call a frame, and share a timer with
///   receiving. With TLS the same frames go through `amqp_send_frame` under the ``Watchdog``.
/// - Every connect raises a generation. Delivery tags carry it; acknowledgements of an older one are dropped, because the
///   broker has put those messages back.
enum AMQPClientOverview {}
