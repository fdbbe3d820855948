import Core
import NIOCore

/// The calls that wait for one model version, in the order in which they are to go.
///
/// Guarantees: calls of one priority go in the order in which they came; a call goes before those of higher priority that came so
/// much later as its priority is behind theirs, so none starves; what is too late is never given out.
package struct CallQueue: Sendable {
  /// How much longer a call of the priority has to wait before it goes first.
  package static func handicap(_ priority: CallPriority) -> Span {
    switch priority {
    case .high: Span(microseconds: 0)
    case .normal: .milliseconds(250)
    case .low: .seconds(2)
    }
  }

  private static let order = CallPriority.allCases

  /// By priority, the highest first.
  private var lanes = order.map { _ in CircularBuffer<WorkItem>() }
  package private(set) var count = 0
  /// Of all the calls together.
  package private(set) var rows = 0

  package init() {}

  package var isEmpty: Bool { count == 0 }

  package var items: [WorkItem] { lanes.flatMap { Array($0) } }

  /// When the call that goes next would have come if it had the highest priority: what queues are compared by.
  package var urgency: Int64? { nextLane.flatMap { urgency(of: $0) } }

  /// When the call came that waits longest.
  package var oldest: Span? { lanes.compactMap { $0.first?.queuedAt }.min() }

  package mutating func append(_ item: WorkItem) {
    count += 1
    rows += item.rows
    lanes[lane(of: item)].append(item)
  }

  /// Puts a call back that was given out before.
  package mutating func prepend(_ item: WorkItem) {
    count += 1
    rows += item.rows
    lanes[lane(of: item)].prepend(item)
  }

  /// The call that goes next; those before it that are too late are put aside.
  package mutating func next(now: Span, late: inout [WorkItem]) -> WorkItem? {
    while let lane = nextLane {
      let item = lanes[lane].removeFirst()
      took(item)
      if item.deadline > now { return item }
      late.append(item)
    }
    return nil
  }

  /// The same, left where it is.
  package mutating func peek(now: Span, late: inout [WorkItem]) -> WorkItem? {
    guard let item = next(now: now, late: &late) else { return nil }
    prepend(item)
    return item
  }

  /// Takes out the last call of the lowest priority that is below this one.
  package mutating func displace(below priority: CallPriority) -> WorkItem? {
    for lane in lanes.indices.reversed() {
      guard Self.order[lane] != priority else { return nil }
      if let item = lanes[lane].popLast() {
        took(item)
        return item
      }
    }
    return nil
  }

  package mutating func removeLate(now: Span) -> [WorkItem] {
    remove { $0.deadline <= now }
  }

  package mutating func remove(_ id: UInt64) -> WorkItem? {
    for lane in lanes.indices {
      guard let index = lanes[lane].firstIndex(where: { $0.id == id }) else { continue }
      let item = lanes[lane].remove(at: index)
      took(item)
      return item
    }
    return nil
  }

  package mutating func removeAll() -> [WorkItem] { remove { _ in true } }

  private mutating func remove(where matches: (WorkItem) -> Bool) -> [WorkItem] {
    var removed: [WorkItem] = []
    for lane in lanes.indices where lanes[lane].contains(where: matches) {
      removed += lanes[lane].filter(matches)
      lanes[lane].removeAll(where: matches)
    }
    for item in removed { took(item) }
    return removed
  }

  private mutating func took(_ item: WorkItem) {
    count -= 1
    rows -= item.rows
  }

  private func lane(of item: WorkItem) -> Int {
    Self.order.firstIndex(of: item.priority) ?? 0
  }

  private var nextLane: Int? {
    var best: (lane: Int, urgency: Int64)?
    for lane in lanes.indices {
      guard let urgency = urgency(of: lane) else { continue }
      if best.map({ urgency < $0.urgency }) ?? true { best = (lane, urgency) }
    }
    return best?.lane
  }

  private func urgency(of lane: Int) -> Int64? {
    lanes[lane].first.map {
      $0.queuedAt.microseconds + Self.handicap(Self.order[lane]).microseconds
    }
  }
}
