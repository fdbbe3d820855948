import Core
import DequeModule

/// Why a call was not taken.
package enum LinkRefusal: Equatable {
  /// The last attempt to connect failed; the next one is made when this has passed.
  case down(Span)
  /// As many calls wait already as may.
  case full
  case stopped
}

/// What a connection to a server does next: which calls are sent, wait, are answered, or fail.
///
/// Pure: times are microseconds of any clock that does not go back. Replies come in the order of the commands, so the
/// oldest call that was sent is the one that a reply belongs to. Commands that were sent and have no reply are at most
/// `limit`, save that a single larger call goes alone.
package struct LinkStateMachine<Ticket: Sendable, Reply: Sendable>: Sendable {
  package enum Phase: Equatable {
    case idle
    case connecting
    case ready
    case down(until: Int64)
    case stopped
  }

  private struct Call {
    var ticket: Ticket
    var commands: Int
    var deadline: Int64
    var replies: [Reply] = []
    /// It failed already; its replies are swallowed.
    var isAbandoned = false
  }

  package private(set) var phase = Phase.idle
  private let limit: Int
  private let waitingLimit: Int
  private var waiting: Deque<Call> = []
  private var waitingCommands = 0
  private var sent: Deque<Call> = []
  package private(set) var inFlight = 0
  /// Attempts to connect that failed one after the other.
  private var failures = 0
  private var lastReply = Int64.min

  package init(limit: Int, waitingLimit: Int) {
    self.limit = limit
    self.waitingLimit = waitingLimit
  }

  // MARK: Calls

  package enum Submission: Equatable {
    /// It goes out, now or when there is room; what else has to be done for that.
    case taken(connect: Bool, flush: Bool)
    case refused(LinkRefusal)
  }

  package mutating func submit(
    _ ticket: Ticket, commands: Int, deadline: Int64, now: Int64
  ) -> Submission {
    var connect = false
    switch phase {
    case .stopped: return .refused(.stopped)
    case .down(let until) where now < until:
      return .refused(.down(Span(microseconds: until - now)))
    case .idle, .down:
      connect = true
      phase = .connecting
    case .connecting, .ready: break
    }
    let hasRoom = phase == .ready && waiting.isEmpty && inFlight < limit
    // What has not gone out yet may still find room among those in flight. One call may always wait, however large.
    let all = inFlight + waitingCommands + commands
    if all > limit + waitingLimit, !waiting.isEmpty { return .refused(.full) }
    waiting.append(Call(ticket: ticket, commands: commands, deadline: deadline))
    waitingCommands += commands
    return .taken(connect: connect, flush: hasRoom)
  }

  /// The calls to be written now, in order.
  package mutating func takeSendable() -> [Ticket] {
    guard phase == .ready else { return [] }
    var tickets: [Ticket] = []
    while let call = waiting.first, inFlight == 0 || inFlight + call.commands <= limit {
      waiting.removeFirst()
      waitingCommands -= call.commands
      inFlight += call.commands
      tickets.append(call.ticket)
      sent.append(call)
    }
    return tickets
  }

  /// Takes a reply; what is answered by it, if that is a whole call that still waits.
  ///
  /// - Returns: `isExpected` false for a reply that nothing asked for.
  package mutating func received(
    _ reply: Reply, now: Int64
  ) -> (isExpected: Bool, answered: (ticket: Ticket, replies: [Reply])?) {
    lastReply = now
    guard !sent.isEmpty else { return (false, nil) }
    inFlight -= 1
    sent[0].replies.append(reply)
    guard sent[0].replies.count == sent[0].commands else { return (true, nil) }
    let call = sent.removeFirst()
    return (true, call.isAbandoned ? nil : (call.ticket, call.replies))
  }

  package var hasSendable: Bool {
    guard phase == .ready, let call = waiting.first else { return false }
    return inFlight == 0 || inFlight + call.commands <= limit
  }

  // MARK: Time

  /// When `expire` has to be called next.
  package var nextDeadline: Int64? {
    let first = sent.first { !$0.isAbandoned }?.deadline
    guard let waits = waiting.first?.deadline else { return first }
    return first.map { min($0, waits) } ?? waits
  }

  /// Gives up the calls whose time has passed.
  ///
  /// - Returns: `isSilent` where the server has not answered anything for as long as a call may take: the connection is to be closed.
  package mutating func expire(
    now: Int64, timeout: Int64
  ) -> (failed: [(ticket: Ticket, wasSent: Bool)], isSilent: Bool) {
    var failed: [(ticket: Ticket, wasSent: Bool)] = []
    for index in sent.indices where !sent[index].isAbandoned {
      guard sent[index].deadline <= now else { break }
      sent[index].isAbandoned = true
      failed.append((sent[index].ticket, true))
    }
    let isSilent = !failed.isEmpty && lastReply <= now - timeout
    while let call = waiting.first, call.deadline <= now {
      waiting.removeFirst()
      waitingCommands -= call.commands
      failed.append((call.ticket, false))
    }
    return (failed, isSilent)
  }

  // MARK: The connection

  package mutating func connected(now: Int64) {
    guard phase == .connecting else { return }
    phase = .ready
    failures = 0
    lastReply = now
  }

  /// - Returns: the calls that fail with it.
  package mutating func connectFailed(
    now: Int64, backoff: Backoff, using random: inout some RandomNumberGenerator
  ) -> [Ticket] {
    guard phase == .connecting else { return [] }
    phase = .down(until: now + backoff.delay(after: failures, using: &random).microseconds)
    failures += 1
    return takeWaiting()
  }

  /// The connection is gone. What was not sent yet waits for the next one; the first attempt at it is made at once.
  ///
  /// - Returns: the calls that fail with it, and whether the others need a new connection.
  package mutating func closed() -> (failed: [Ticket], connect: Bool) {
    let failed = sent.filter { !$0.isAbandoned }.map(\.ticket)
    sent.removeAll()
    inFlight = 0
    guard phase == .ready else { return (failed, false) }
    phase = waiting.isEmpty ? .idle : .connecting
    return (failed, phase == .connecting)
  }

  /// - Returns: every call that has no answer.
  package mutating func stop() -> [Ticket] {
    phase = .stopped
    let failed = sent.filter { !$0.isAbandoned }.map(\.ticket)
    sent.removeAll()
    inFlight = 0
    return failed + takeWaiting()
  }

  private mutating func takeWaiting() -> [Ticket] {
    defer {
      waiting.removeAll()
      waitingCommands = 0
    }
    return waiting.map(\.ticket)
  }
}
