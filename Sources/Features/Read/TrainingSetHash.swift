import Core
import Crypto
import Foundation

/// The fingerprint of a training set: SHA-256 over names, types and cells.
///
/// Canonical form: the line `martlet training set 1`; then each column (the features in order,
/// `label`, `event_timestamp`): name and
/// type, each as length and UTF-8 bytes, the number of rows, and row by row one byte (1: has a
/// value) followed by the
/// value where there is one. Numbers are 8 bytes little-endian (doubles as IEEE 754, every NaN as
/// the same one), bools one byte, texts
/// their length and bytes, arrays the number of their elements and each of them like a cell that has
/// a value. Lengths and counts are 8 bytes little-endian.
package enum TrainingSetHash {
  package static func of(_ features: ColumnBatch, label: [Double], times: [Int64]) -> String {
    var digest = Digest()
    digest.add(text: "martlet training set 1\n")
    for column in features.columns { digest.add(column) }
    digest.add(Column(name: "label", values: .double(label)))
    digest.add(Column(name: TrainingSetPlan.timeName, values: .timestamp(times)))
    return digest.hexadecimal
  }

  /// The same over a whole table, under the line `martlet dataset 1`; the length of fixed arrays, which files do not keep, is left out.
  package static func of(_ batch: ColumnBatch) -> String {
    var digest = Digest()
    digest.add(text: "martlet dataset 1\n")
    for column in batch.columns {
      digest.add(text: column.name)
      digest.add(text: column.type.withoutLength.rawValue)
      digest.add(word: UInt64(column.count))
      digest.add(cellsOf: column)
    }
    return digest.hexadecimal
  }

  private struct Digest {
    private var hash = SHA256()
    private var buffer: [UInt8] = []

    var hexadecimal: String {
      mutating get {
        flush()
        return hash.finalize().map { byte in
          let digits = String(byte, radix: 16)
          return digits.count == 1 ? "0" + digits : digits
        }.joined()
      }
    }

    mutating func add(_ column: Column) {
      add(text: column.name)
      add(text: column.type.rawValue)
      add(word: UInt64(column.count))
      add(cellsOf: column)
    }

    mutating func add(cellsOf column: Column) {
      switch column.values {
      case .bool(let all): cells(column) { $0.buffer.append(all[$1] ? 1 : 0) }
      case .int64(let all), .timestamp(let all):
        cells(column) { $0.add(word: UInt64(bitPattern: all[$1])) }
      case .double(let all):
        cells(column) { $0.add(word: (all[$1].isNaN ? Double.nan : all[$1]).bitPattern) }
      case .string(let all): cells(column) { $0.add(text: all[$1]) }
      case .list(let lists):
        cells(column) { digest, row in
          digest.add(word: UInt64(lists.range(row).count))
          digest.add(cellsOf: Column(name: "", values: lists[row]))
        }
      }
    }

    private mutating func cells(_ column: Column, _ cell: (inout Digest, Int) -> Void) {
      for row in 0..<column.count {
        let isPresent = column.isPresent(row)
        buffer.append(isPresent ? 1 : 0)
        if isPresent { cell(&self, row) }
        if buffer.count > 1 << 16 { flush() }
      }
    }

    mutating func add(text: String) {
      add(word: UInt64(text.utf8.count))
      buffer.append(contentsOf: text.utf8)
    }

    mutating func add(word: UInt64) {
      withUnsafeBytes(of: word.littleEndian) { buffer.append(contentsOf: $0) }
    }

    private mutating func flush() {
      hash.update(data: buffer)
      buffer.removeAll(keepingCapacity: true)
    }
  }
}

extension ColumnType {
  fileprivate var withoutLength: ColumnType {
    if case .array(let element, _) = self { .array(of: element, length: nil) } else { self }
  }
}
