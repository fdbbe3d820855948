import Core
import Synchronization

/// A prepared view: how its keys are named, laid out and kept.
final class RedisView: Sendable {
  let layout: ViewLayout
  let blank: EntityState
  let expiry: KeyExpiry
  let prefix: [UInt8]
  /// Names of the hash's fields, by latest column.
  let fields: [[UInt8]]
  /// Writes of one process to one view come one after the other, so that a writer's marks only grow.
  let gate = SerialGate()
  let cache = Mutex(StateCache(limit: Limits.redisCachedBytes))
  /// The number of connections under which it was last seen that the server has what it had acknowledged.
  let checkedAt = Atomic<Int>(-1)
  /// Whether its states are made beside others, whose place they may take.
  let isRenewal: Bool
  /// Events of it are missing: it cannot be read until it was filled again.
  let isLost: Atomic<Bool>

  init(
    _ layout: ViewLayout, keys: RedisKeys, configuration: RedisConfiguration, isLost: Bool = false,
    isRenewal: Bool = false
  ) {
    self.isRenewal = isRenewal
    self.layout = layout
    self.isLost = Atomic(isLost)
    blank = EntityState(layout: layout)
    expiry = KeyExpiry(layout, isOn: configuration.expires, grace: configuration.expiryGrace)
    prefix = keys.prefix(of: layout.view)
    fields = layout.latestColumns.map { Array($0.name.utf8) }
  }

  /// What the registry says of the view: the digest of its layout and how long keys are kept.
  var entry: RegistryEntry {
    RegistryEntry(digest: layout.stateDigest, reach: expiry.reach?.microseconds)
  }
}

/// What all processes agree that a view is laid out for.
struct RegistryEntry: Equatable {
  var digest: String
  /// Microseconds that keys are kept after their newest event; nil is for ever.
  var reach: Int64?
  /// Of the call that emptied the view.
  var token = "-"

  init(digest: String, reach: Int64?) {
    self.digest = digest
    self.reach = reach
  }

  init?(_ text: String) {
    let words = text.split(separator: " ")
    guard words.count == 3 else { return nil }
    digest = String(words[0])
    token = String(words[2])
    if words[1] == "ever" { return }
    guard let number = Int64(words[1]) else { return nil }
    reach = number
  }

  var text: String { "\(digest) \(reach.map(String.init) ?? "ever") \(token)" }

  /// Whether states written under this entry answer what a view of `wanted` asks: a ttl that grew asks for what
  /// may have been forgotten already.
  func covers(_ wanted: RegistryEntry) -> Bool {
    guard digest == wanted.digest else { return false }
    guard let reach else { return true }
    return wanted.reach.map { $0 <= reach } ?? false
  }
}
