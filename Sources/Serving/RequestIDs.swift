import Synchronization

/// Ids of requests that bring none: different in every process, short, and in order.
package final class RequestIDs: Sendable {
  private let prefix: String
  private let count = Atomic<UInt64>(0)

  package init(random: UInt64 = .random(in: .min ... .max)) {
    prefix = String(random, radix: 36)
  }

  package func next() -> String {
    let number = count.wrappingAdd(1, ordering: .relaxed).newValue
    return "\(prefix)-\(String(number, radix: 36))"
  }
}
