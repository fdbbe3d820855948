import DequeModule

/// What waits for the committer: pushes, and work that must be alone. A pure value; `Ingestor` is
/// the shell around it.
///
/// - At most `capacity` rows wait; a push that finds the queue full is parked and enters, in
///   order, when there is room again. A push larger than that enters an empty queue.
/// - A push whose producer would rather be told is refused once `overload` rows wait and are
/// parked.
/// - The committer takes everything that waits at once. Exclusive work comes between two such
///   takings; while both wait they take turns, so that neither starves.
package struct CommitQueue<Push: Sendable, Exclusive: Sendable>: Sendable {
  package enum Offer: Equatable {
    /// It waits; `wakes` says that the committer sleeps and must be woken.
    case queued(wakes: Bool)
    case parked
    case refused
    case closed
  }

  package enum Next {
    /// All pushes that waited, and those that entered from the parking place.
    case commit([Push], entered: [Push])
    case exclusive(Exclusive)
    /// Nothing waits: the committer sleeps until it is woken.
    case sleep
    /// Closed, and everything has been taken.
    case end
  }

  private let capacity: Int
  private let overload: Int
  private var waiting: [(rows: Int, push: Push)] = []
  private var parked: Deque<(rows: Int, push: Push)> = []
  private var exclusives: Deque<Exclusive> = []
  package private(set) var waitingRows = 0
  package private(set) var parkedRows = 0
  private var sleeps = false
  private var lastWasExclusive = false
  package private(set) var isClosed = false

  package init(capacity: Int, overload: Int) {
    self.capacity = capacity
    self.overload = overload
  }

  package mutating func offer(_ push: Push, rows: Int, refusable: Bool) -> Offer {
    if isClosed { return .closed }
    if refusable, waitingRows + parkedRows + rows > overload, waitingRows > 0 { return .refused }
    if parked.isEmpty, hasRoom(for: rows) {
      enter(push, rows)
      return .queued(wakes: wake())
    }
    parked.append((rows, push))
    parkedRows += rows
    return .parked
  }

  /// False once something came after `take` had answered `sleep`.
  package var isAsleep: Bool { sleeps }

  /// Nil when closed; else whether the committer must be woken.
  package mutating func offer(exclusive: Exclusive) -> Bool? {
    if isClosed { return nil }
    exclusives.append(exclusive)
    return wake()
  }

  package mutating func take() -> Next {
    if !exclusives.isEmpty, waiting.isEmpty || !lastWasExclusive {
      lastWasExclusive = true
      return .exclusive(exclusives.removeFirst())
    }
    lastWasExclusive = false
    guard !waiting.isEmpty else {
      if isClosed { return .end }
      sleeps = true
      return .sleep
    }
    let taken = waiting.map(\.push)
    waiting = []
    waitingRows = 0
    var entered: [Push] = []
    while let first = parked.first, hasRoom(for: first.rows) {
      parked.removeFirst()
      parkedRows -= first.rows
      enter(first.push, first.rows)
      entered.append(first.push)
    }
    return .commit(taken, entered: entered)
  }

  /// Takes nothing more; what waits is still taken. True when the committer must be woken.
  package mutating func close() -> Bool {
    isClosed = true
    return wake()
  }

  /// Closes and gives everything back that was not taken.
  package mutating func abandon() -> (pushes: [Push], exclusives: [Exclusive]) {
    isClosed = true
    let pushes = (waiting + parked).map(\.push)
    let works = Array(exclusives)
    waiting = []
    parked = []
    exclusives = []
    waitingRows = 0
    parkedRows = 0
    return (pushes, works)
  }

  /// Gives back the pushes that meet a condition and all exclusive work; the other pushes keep their order.
  package mutating func withdraw(
    where condition: (Push) -> Bool
  ) -> (pushes: [Push], exclusives: [Exclusive]) {
    let pushes = (waiting + parked).map(\.push).filter(condition)
    let works = Array(exclusives)
    waiting.removeAll { condition($0.push) }
    parked.removeAll { condition($0.push) }
    exclusives = []
    waitingRows = waiting.reduce(0) { $0 + $1.rows }
    parkedRows = parked.reduce(0) { $0 + $1.rows }
    return (pushes, works)
  }

  private func hasRoom(for rows: Int) -> Bool { waitingRows == 0 || waitingRows + rows <= capacity }

  private mutating func enter(_ push: Push, _ rows: Int) {
    waiting.append((rows, push))
    waitingRows += rows
  }

  private mutating func wake() -> Bool {
    defer { sleeps = false }
    return sleeps
  }
}
