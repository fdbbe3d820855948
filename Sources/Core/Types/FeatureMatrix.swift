/// Rows of numbers as a model takes them: one row after the other, a missing value as NaN.
package struct FeatureMatrix: Sendable, Equatable {
  package var rows: Int
  package var width: Int
  /// `rows` times `width` numbers.
  package var values: [Double]

  package init(rows: Int, width: Int, values: [Double]) {
    self.rows = rows
    self.width = width
    self.values = values
  }

  /// Takes `features` out of a batch, by name, in their order.
  ///
  /// - Parameter categories: by feature, the number of each text; a text that is not among them is missing.
  /// - Throws: `internal` where a column is not there, or is neither a number nor a text with categories.
  package init(
    _ batch: ColumnBatch, features: [String], categories: [String: [String: Double]] = [:]
  ) throws {
    rows = batch.count
    width = features.count
    values = [Double](repeating: .nan, count: rows * width)
    for (place, name) in features.enumerated() {
      // Mostly the columns come in the model's own order.
      let column =
        place < batch.columns.count && batch.columns[place].name == name
        ? batch.columns[place] : batch[name]
      guard let column else {
        throw PlatformError(.internalError, "the rows have no column '\(name)'")
      }
      guard fill(place, column, categories.isEmpty ? nil : categories[name]) else {
        throw PlatformError(
          .internalError,
          "column '\(name)' came as \(column.type.rawValue); the model takes a number there")
      }
    }
  }

  private mutating func fill(
    _ place: Int, _ column: Column, _ categories: [String: Double]?
  ) -> Bool {
    switch column.values {
    case .double(let cells): put(place, column, cells) { $0 }
    case .int64(let cells): put(place, column, cells) { Double($0) }
    case .bool(let cells): put(place, column, cells) { $0 ? 1 : 0 }
    case .string(let cells):
      if let categories {
        put(place, column, cells) { categories[$0] ?? .nan }
      } else {
        return false
      }
    case .timestamp, .list: return false
    }
    return true
  }

  private mutating func put<Cell>(
    _ place: Int, _ column: Column, _ cells: [Cell], _ number: (Cell) -> Double
  ) {
    for row in 0..<rows where column.isPresent(row) {
      values[row * width + place] = number(cells[row])
    }
  }

  /// The rows of a range, as a matrix of their own.
  package func part(_ range: Range<Int>) -> FeatureMatrix {
    FeatureMatrix(
      rows: range.count, width: width,
      values: Array(values[range.lowerBound * width..<range.upperBound * width]))
  }
}
