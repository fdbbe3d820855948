import Core
import NIOCore

/// Whose events a write brings: what tells a repetition from something new.
struct WriteOrigin: Sendable, Equatable {
  enum Order: Sendable, Equatable {
    /// Rows have the sequences of a stream; those up to `completed` are in every key already.
    case stream(completed: Int64)
    /// The whole write is one step of a writer.
    case writer(step: Int64)
  }

  var number: UInt64
  var order: Order

  /// A stream by name; names are few and their 64-bit FNV-1a digests (Fowler, Noll, Vo) do not meet.
  static func stream(_ name: String, completed: Int64) -> WriteOrigin {
    var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in name.utf8 { digest = (digest ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    return WriteOrigin(number: digest, order: .stream(completed: completed))
  }
}

/// Some entity keys of a write, each with its rows.
struct KeyBatch: Sendable {
  struct Entry: Sendable {
    var key: EntityKey
    var name: [UInt8]
    var rows: [Int32]
  }

  var entries: [Entry]

  /// The distinct keys of a write, in parts of at most `size`.
  static func batches(
    of write: OnlineWrite, _ view: RedisView, keys: RedisKeys, size: Int
  )
    -> [KeyBatch]
  {
    var positions: [EntityKey: Int] = [:]
    positions.reserveCapacity(min(write.keys.count, 1 << 16))
    var entries: [Entry] = []
    for (row, key) in write.keys.enumerated() {
      if let position = positions[key] {
        entries[position].rows.append(Int32(row))
        continue
      }
      positions[key] = entries.count
      let name = keys.entity(key, prefix: view.prefix, types: view.layout.keyTypes)
      entries.append(Entry(key: key, name: name, rows: [Int32(row)]))
    }
    return stride(from: 0, to: entries.count, by: size).map { start in
      KeyBatch(entries: Array(entries[start..<min(start + size, entries.count)]))
    }
  }

  /// Asks for the states of some of the keys.
  func requests(_ indices: [Int]) -> [RedisRequest] {
    indices.map {
      RedisRequest([KeyBatch.get, entries[$0].name, RedisKeys.state], key: entries[$0].name)
    }
  }

  static let get = Array("HGET".utf8)
}

/// What one key is replaced by.
struct KeyReplacement: Sendable {
  /// The key's position in the batch.
  var entry: Int
  var name: [UInt8]
  /// As `RedisScript.replace` wants them.
  var arguments: [[UInt8]]
  var new: CachedState
  /// Bytes of the new state as it is stored.
  var bytes: Int
}

/// What is known of a key before it is changed.
enum KnownState: Sendable {
  case cached(CachedState)
  /// The reply to `HGET`.
  case read(RESPValue)
}

extension KeyBatch {
  /// Merges the rows into the states that were read, by the same engine as the store in memory.
  ///
  /// Pure. Keys that have all of their rows already are left out.
  /// - Parameter stored: one for each entry.
  func merged(
    _ write: OnlineWrite, into stored: [KnownState], of view: RedisView, origin: WriteOrigin,
    now: Timestamp, random: inout some RandomNumberGenerator
  ) throws -> [KeyReplacement] {
    var table = MemoryTable()
    table.reserve(entries.count)
    var known: [Known] = []
    known.reserveCapacity(entries.count)
    var rows: [Int32] = []
    for (entry, stored) in zip(entries, stored) {
      var one = try read(stored, of: entry, view, into: &table)
      one.rows = fresh(entry.rows, of: write, one, origin)
      rows += one.rows
      known.append(one)
    }
    table.apply(
      MemoryWrite(write, layout: view.layout, blank: view.blank, now: now), rows: rows[...])
    var replacements: [KeyReplacement] = []
    for (index, known) in known.enumerated() where !known.rows.isEmpty {
      guard let state = table.state(of: entries[index].key) else { continue }
      let mark: Int64 =
        switch origin.order {
        case .stream: known.rows.reduce(.min) { max($0, write.sequences[Int($1)]) }
        case .writer(let step): step
        }
      var new = StoredState(state: state, marks: known.marks)
      new.note(origin.number, mark, isOfWriter: !origin.isStream)
      let field = new.encoded(write: random.next())
      let fields = new.fields(field, before: known.latest, view: view)
      let expiry = view.expiry.milliseconds(for: state, now: now)
      replacements.append(
        KeyReplacement(
          entry: index, name: entries[index].name,
          arguments: [known.head, text(expiry), text(Int64(fields.count))] + fields,
          new: CachedState(head: Array(field.prefix(StoredState.headBytes)), stored: new),
          bytes: field.count))
    }
    return replacements
  }

  /// What is kept of a state that was read, beside the state itself: a second reference would make every change a copy.
  private struct Known {
    var head: [UInt8] = []
    var marks: [AppliedMark] = []
    var latest: [LatestCell?] = []
    var rows: [Int32] = []
  }

  private func read(
    _ known: KnownState, of entry: Entry, _ view: RedisView, into table: inout MemoryTable
  ) throws -> Known {
    let cached: CachedState
    switch known {
    case .cached(let state): cached = state
    case .read(let reply):
      switch try reply.unlessForeign(key: entry.name) {
      case .null: return Known()
      case .bulk(let bytes):
        cached = CachedState(
          head: Array(bytes.readableBytesView.prefix(StoredState.headBytes)),
          stored: try StoredState(
            bytes, layout: view.layout, blank: view.blank, key: entry.name))
      default: throw RedisFault.foreign("something that is no state", key: entry.name)
      }
    }
    _ = table.insert(cached.stored.state, for: entry.key)
    return Known(
      head: cached.head, marks: cached.stored.marks, latest: cached.stored.state.latest)
  }

  private func fresh(
    _ rows: [Int32], of write: OnlineWrite, _ known: Known, _ origin: WriteOrigin
  ) -> [Int32] {
    let mark = known.marks.first { $0.origin == origin.number }?.sequence ?? .min
    switch origin.order {
    case .writer(let step): return mark >= step ? [] : rows
    case .stream(let completed):
      let last = max(mark, completed)
      return rows.filter { write.sequences[Int($0)] > last }
    }
  }

  private func text(_ number: Int64) -> [UInt8] { Array(String(number).utf8) }
}

extension StoredState {
  /// The fields of a hash with their values: the state, and of the latest values those that changed.
  ///
  /// - Parameter field: the state's bytes.
  func fields(_ field: [UInt8], before: [LatestCell?], view: RedisView) -> [[UInt8]] {
    var fields = [RedisKeys.state, field]
    var text = LatestText()
    for (column, cell) in state.latest.enumerated() {
      guard let cell, column >= before.count || before[column] != cell else { continue }
      fields.append(view.fields[column])
      fields.append(text.of(cell))
    }
    return fields
  }
}

extension WriteOrigin {
  fileprivate var isStream: Bool { if case .stream = order { true } else { false } }
}

/// A latest value as other programs read it: `{"val":42.5,"timestamp":"2024-01-01T12:00:00Z"}`.
struct LatestText {
  private var time: Int64?
  private var end: [UInt8] = []

  mutating func of(_ cell: LatestCell) -> [UInt8] {
    // Most cells of a key are of one event.
    if time != cell.eventTimestamp {
      let text = Timestamp(microseconds: cell.eventTimestamp).description
      end = Array(#","timestamp":"\#(text)"}"#.utf8)
      time = cell.eventTimestamp
    }
    var bytes = [UInt8](reserving: 72)
    bytes.append(contentsOf: #"{"val":"#.utf8)
    JSON.write(cell.value, into: &bytes)
    bytes.append(contentsOf: end)
    return bytes
  }
}
