import Core
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// What a link needs to know beside its address.
struct LinkSettings: Sendable {
  var handshake: Handshake
  var tls: NIOSSLContext?
  var connectTimeout: Span
  var requestTimeout: Span
  var backoff: Backoff
  var inFlight: Int
  var waiting: Int
  let connections: ConnectionCount
}

/// How many connections were made so far: another number means that a server may not be the one that it was.
final class ConnectionCount: Sendable {
  private let count = Atomic<Int>(0)

  var current: Int { count.load(ordering: .acquiring) }
  func increment() { count.add(1, ordering: .acquiringAndReleasing) }
}

/// One connection to a server, made when it is first needed and again after it was lost.
///
/// Guarantees: commands of one call go out together and in order, as do calls of one caller; a call is answered whole or fails.
/// A call that fails after it was sent may have had its effect. While the last attempt to connect has failed and its
/// back-off has not passed, calls fail at once.
final class RedisLink: Sendable {
  struct Ticket: Sendable {
    var bytes: ByteBuffer
    var continuation: CheckedContinuation<[RESPValue], any Error>
  }

  private struct State {
    var machine: LinkStateMachine<Ticket, RESPValue>
    var channel: (any Channel)?
    var isFlushing = false
    var hasTimer = false
    var random = SystemRandomNumberGenerator()
    /// Why the last attempt to connect failed.
    var lastFault: PlatformError?
  }

  let address: RedisAddress
  private let settings: LinkSettings
  private let loop: any EventLoop
  private let logger: Logger
  private let state: Mutex<State>

  init(address: RedisAddress, settings: LinkSettings, loop: any EventLoop, logger: Logger) {
    self.address = address
    self.settings = settings
    self.loop = loop
    self.logger = logger
    state = Mutex(
      State(machine: LinkStateMachine(limit: settings.inFlight, waitingLimit: settings.waiting)))
  }

  /// The replies to some commands, in order; errors of the server are replies too.
  func send(_ requests: [RedisRequest]) async throws -> [RESPValue] {
    let bytes = RedisRequest.encoded(requests)
    return try await withCheckedThrowingContinuation { continuation in
      submit(Ticket(bytes: bytes, continuation: continuation), commands: requests.count)
    }
  }

  private func submit(_ ticket: Ticket, commands: Int) {
    let now = RedisLink.now
    let (submission, flush, timer, lastFault) = state.withLock { state in
      let submission = state.machine.submit(
        ticket, commands: commands, deadline: now + settings.requestTimeout.microseconds, now: now)
      guard case .taken(_, let wantsFlush) = submission else {
        return (submission, false, false, state.lastFault)
      }
      // One flush on the loop takes all that was submitted meanwhile.
      let flush = wantsFlush && !state.isFlushing
      if flush { state.isFlushing = true }
      let timer = !state.hasTimer
      state.hasTimer = true
      return (submission, flush, timer, nil)
    }
    switch submission {
    case .refused(let refusal):
      ticket.continuation.resume(throwing: error(for: refusal, lastFault))
    case .taken(let connects, _):
      if connects { connect() }
      if flush { loop.execute { self.flush() } }
      if timer { loop.execute { self.setTimer() } }
    }
  }

  private func error(for refusal: LinkRefusal, _ lastFault: PlatformError?) -> PlatformError {
    switch refusal {
    case .down(let rest):
      if var lastFault {
        if lastFault.retryable { lastFault.retryAfter = rest }
        return lastFault
      }
      return RedisFault.away(address, "cannot be reached", retryAfter: rest)
    case .full: return RedisFault.full(address, limit: settings.waiting)
    case .stopped: return RedisFault.stopped()
    }
  }

  func close() {
    let (channel, tickets) = state.withLock { state in
      let channel = state.channel
      state.channel = nil
      return (channel, state.machine.stop())
    }
    for ticket in tickets { ticket.continuation.resume(throwing: RedisFault.stopped()) }
    channel?.close(promise: nil)
  }

  // MARK: On the event loop

  private func flush() {
    let (channel, tickets) = state.withLock { state in
      state.isFlushing = false
      return (state.channel, state.machine.takeSendable())
    }
    guard let channel, !tickets.isEmpty else { return }
    for ticket in tickets { channel.write(ticket.bytes, promise: nil) }
    channel.flush()
  }

  /// False where nobody had asked for one of them.
  func received(_ replies: [RESPValue]) -> Bool {
    let now = RedisLink.now
    let (answered, isExpected, sendable) = state.withLock { state in
      var answered: [(ticket: Ticket, replies: [RESPValue])] = []
      var isExpected = true
      for reply in replies {
        let taken = state.machine.received(reply, now: now)
        if let call = taken.answered { answered.append(call) }
        isExpected = isExpected && taken.isExpected
      }
      return (answered, isExpected, state.machine.hasSendable)
    }
    for call in answered { call.ticket.continuation.resume(returning: call.replies) }
    if sendable { flush() }
    return isExpected
  }

  func connected(_ channel: any Channel) {
    // Before anything is sent: whoever gets a reply of this connection sees the new number.
    settings.connections.increment()
    let isStopped = state.withLock { state in
      state.machine.connected(now: RedisLink.now)
      guard state.machine.phase == .ready else { return true }
      state.channel = channel
      state.lastFault = nil
      return false
    }
    if isStopped { return channel.close(promise: nil) }
    logger.debug("connected to Redis", metadata: ["redis": "\(address)"])
    flush()
  }

  func connectFailed(_ cause: any Error) {
    let fault =
      cause as? PlatformError ?? RedisFault.away(address, "cannot be reached", cause: cause)
    let (tickets, isFirst) = state.withLock { state in
      let isFirst = state.lastFault == nil
      state.lastFault = fault
      let tickets = state.machine.connectFailed(
        now: RedisLink.now, backoff: settings.backoff, using: &state.random)
      return (tickets, isFirst)
    }
    if isFirst {
      logger.warning(
        "Redis cannot be used, trying again",
        metadata: ["redis": "\(address)", "error": "\(fault)"])
    }
    for ticket in tickets { ticket.continuation.resume(throwing: fault) }
  }

  func closed(_ cause: (any Error)?) {
    let (tickets, reconnects) = state.withLock { state in
      state.channel = nil
      let closed = state.machine.closed()
      return (closed.failed, closed.connect)
    }
    let fault = RedisFault.away(
      address, "closed the connection before it had answered", cause: cause)
    for ticket in tickets { ticket.continuation.resume(throwing: fault) }
    if reconnects { connect() }
  }

  private func connect() {
    let timeout = TimeAmount.microseconds(settings.connectTimeout.microseconds)
    ClientBootstrap(group: loop)
      .connectTimeout(timeout)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls = self.settings.tls {
            try pipeline.addHandler(self.tlsHandler(tls))
          }
          try pipeline.addHandler(
            RedisChannelHandler(link: self, handshake: self.settings.handshake))
        }
      }
      .connect(host: address.host, port: address.port)
      .whenComplete { result in
        switch result {
        case .failure(let error): self.connectFailed(error)
        case .success(let channel):
          // The greeting has its time too.
          self.loop.scheduleTask(in: timeout) {
            if !self.isConnected(channel) { channel.close(promise: nil) }
          }
        }
      }
  }

  private func isConnected(_ channel: any Channel) -> Bool {
    state.withLock { $0.channel === channel }
  }

  private func tlsHandler(_ context: NIOSSLContext) throws -> NIOSSLClientHandler {
    // An address of numbers cannot be asked for by name.
    let isNumeric = (try? SocketAddress(ipAddress: address.host, port: 0)) != nil
    return try NIOSSLClientHandler(context: context, serverHostname: isNumeric ? nil : address.host)
  }

  // MARK: Time

  private func setTimer() {
    let deadline = state.withLock { state in
      let deadline = state.machine.nextDeadline
      state.hasTimer = deadline != nil
      return deadline
    }
    guard let deadline else { return }
    let rest = max(1_000, deadline - RedisLink.now)
    loop.scheduleTask(in: .microseconds(rest)) { self.expire() }
  }

  private func expire() {
    let (failed, channel) = state.withLock { state in
      let expired = state.machine.expire(
        now: RedisLink.now, timeout: settings.requestTimeout.microseconds)
      return (expired.failed, expired.isSilent ? state.channel : nil)
    }
    for (ticket, wasSent) in failed {
      ticket.continuation.resume(
        throwing: RedisFault.late(address, after: settings.requestTimeout, wasSent: wasSent))
    }
    channel?.close(promise: nil)
    setTimer()
  }

  /// Microseconds of a clock that does not go back.
  static var now: Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000) }
}
