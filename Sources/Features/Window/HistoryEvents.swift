import Core

/// A batch of a source's history, as the scan delivers it.
struct HistoryEvents {
  let batch: ColumnBatch
  let eventTimestamps: [Int64]
  let createdAt: [Int64]
  let sequences: [Int64]

  /// Nil where a system column is missing or of another type.
  init?(_ batch: borrowing ColumnBatch) {
    guard case .timestamp(let times)? = batch["event_timestamp"]?.values,
      case .timestamp(let created)? = batch["created_at"]?.values,
      case .int64(let sequences)? = batch["sequence"]?.values
    else { return nil }
    self.batch = copy batch
    eventTimestamps = times
    createdAt = created
    self.sequences = sequences
  }

  var count: Int { batch.count }

  /// Bit i of byte i / 8 of a bitmap that is written in hexadecimal.
  static func isSet(_ bit: Int, in hexadecimal: String) -> Bool {
    let digits = hexadecimal.utf8
    // The low half of a byte is its second digit.
    let position = bit / 8 * 2 + (bit % 8 < 4 ? 1 : 0)
    guard position < digits.count else { return false }
    let digit = digits[digits.index(digits.startIndex, offsetBy: position)]
    let value = digit <= UInt8(ascii: "9") ? digit &- 48 : (digit | 0x20) &- 87
    return value >> UInt8(bit % 4) & 1 == 1
  }
}

extension SpineIndex {
  /// By row, the first place that may see the event, -1 for none: what it is allowed to know
  /// depends on the clock.
  func firstPlaces(
    of events: borrowing HistoryEvents, keys: [Int32], mode: HistoryMode
  ) -> [Int32] {
    let happened = events.eventTimestamps
    let created = events.createdAt
    return [Int32](unsafeUninitializedCapacity: keys.count) { places, count in
      times.withUnsafeBufferPointer { times in
        for row in keys.indices {
          let key = Int(keys[row])
          guard key >= 0 else {
            places[row] = -1
            continue
          }
          let visible =
            mode == .asCorrected ? happened[row] : Swift.max(happened[row], created[row])
          let end = Int(starts[key + 1])
          let place = lowerBound(times, Int(starts[key]), end, visible)
          places[row] = place == end ? -1 : Int32(place)
        }
      }
      count = keys.count
    }
  }
}
