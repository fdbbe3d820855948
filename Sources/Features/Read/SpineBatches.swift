import Core
import Synchronization

/// The batches of a spine as they are read, as many as are allowed.
final class SpineBatches: Sendable {
  private let name: String
  private let batches = Mutex<(all: [ColumnBatch], rows: Int)>(([], 0))

  /// - Parameter name: what messages call the spine.
  init(_ name: String) { self.name = name }

  var all: [ColumnBatch] { batches.withLock { $0.all } }

  func append(_ batch: ColumnBatch) throws {
    let rows = batches.withLock { batches in
      batches.all.append(batch)
      batches.rows += batch.count
      return batches.rows
    }
    guard rows <= SpineReader.maximumRows else {
      throw PlatformError(
        .invalidArgument,
        "\(name) has more than \(SpineReader.maximumRows) rows; split it into several files")
    }
  }
}

extension ColumnBatch {
  /// The rows of batches of the same columns, one after another, in one copy; nil where there is no
  /// batch.
  init?(joining batches: [ColumnBatch]) {
    guard let first = batches.first else { return nil }
    self.init(
      columns: first.columns.indices.map { index in
        Column(joining: batches.map { $0.columns[index] })
      },
      count: batches.reduce(0) { $0 + $1.count })
  }
}

extension Column {
  fileprivate init(joining parts: [Column]) {
    let values: ColumnValues =
      switch parts[0].values {
      case .bool: .bool(parts.flatMap { $0.values.bools })
      case .int64: .int64(parts.flatMap { $0.values.words })
      case .double: .double(parts.flatMap { $0.values.doubles })
      case .string: .string(parts.flatMap { $0.values.strings })
      case .timestamp: .timestamp(parts.flatMap { $0.values.words })
      case .list(let first):
        .list(
          parts.dropFirst().reduce(into: first) { joined, part in
            if case .list(let more) = part.values { joined.append(more) }
          })
      }
    let isComplete = parts.allSatisfy { $0.presence == nil }
    self.init(
      name: parts[0].name, values: values,
      presence: isComplete
        ? nil : parts.flatMap { $0.presence ?? [UInt8](repeating: 0, count: $0.count) })
  }
}

extension ColumnValues {
  fileprivate var bools: [Bool] { if case .bool(let all) = self { all } else { [] } }
  fileprivate var doubles: [Double] { if case .double(let all) = self { all } else { [] } }
  fileprivate var strings: [String] { if case .string(let all) = self { all } else { [] } }
  fileprivate var words: [Int64] {
    switch self {
    case .int64(let all), .timestamp(let all): all
    case .bool, .double, .string, .list: []
    }
  }
}
