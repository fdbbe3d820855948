import Core

/// The distribution of one column at training time: what a live window is compared with.
///
/// A cell falls in exactly one bin. Numbers have bins by their edges: `(-∞, e0], (e0, e1], …, (en, ∞)`. Text has a bin for each of its most
/// frequent values and one for all others. Nulls and NaN have a bin of their own, the last.
package struct ColumnProfile: Codable, Sendable, Equatable {
  package enum Bins: Codable, Sendable, Equatable {
    /// Rising upper edges of the bins but the last, which has none.
    case edges([Double])
    case values([String])
  }

  package var name: String
  package var bins: Bins
  /// By bin; the last is nulls.
  package var counts: [Int]
  package var rows: Int
  package var nulls: Int
  package var mean: Double
  package var standardDeviation: Double
  package var minimum: Double
  package var maximum: Double
  /// Evenly spaced order statistics of the numbers, for the KS statistic; empty for text.
  package var quantiles: [Double]

  package var nullShare: Double { rows == 0 ? 0 : Double(nulls) / Double(rows) }

  private static let quantilePoints = 513
  private static let mostValues = 20

  /// Profiles a column of training rows with at most `bins` bins (and the one of nulls).
  package init(of column: Column, bins limit: Int = 10) {
    name = column.name
    rows = column.count
    minimum = 0
    maximum = 0
    mean = 0
    standardDeviation = 0
    quantiles = []
    counts = []
    if case .string(let texts) = column.values {
      var frequency: [ExactText: Int] = [:]
      for (row, text) in texts.enumerated() where column.isPresent(row) {
        frequency[ExactText(text), default: 0] += 1
      }
      bins = .values(
        frequency.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(Self.mostValues)
          .map(\.key.text))
      nulls = rows - frequency.values.reduce(0, +)
    } else {
      let numbers = presentNumbers(of: column).sorted()
      nulls = rows - numbers.count
      bins = .edges(Self.edges(of: numbers, limit: limit))
      describe(numbers)
    }
    counts = histogram(of: column)
  }

  private mutating func describe(_ sorted: [Double]) {
    guard let first = sorted.first, let last = sorted.last else { return }
    minimum = first
    maximum = last
    mean = sorted.reduce(0, +) / Double(sorted.count)
    let squares = sorted.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    standardDeviation = sorted.count > 1 ? (squares / Double(sorted.count - 1)).squareRoot() : 0
    let points = min(Self.quantilePoints, sorted.count)
    quantiles = (0..<points).map { index in
      points == 1 ? first : sorted[index * (sorted.count - 1) / (points - 1)]
    }
  }

  /// Edges at quantiles, save that a value which alone fills a bin's share gets a bin of its own.
  ///
  /// With plain quantiles the edges of a column that is mostly one value (rain, say) all coincide, and no change of it is ever seen.
  static func edges(of sorted: [Double], limit: Int) -> [Double] {
    guard let first = sorted.first, let last = sorted.last, first < last else {
      return sorted.first.map { [$0.nextDown, $0] } ?? []
    }
    var runs: [(value: Double, count: Int)] = []
    for value in sorted {
      if runs.last?.value == value {
        runs[runs.count - 1].count += 1
      } else {
        runs.append((value, 1))
      }
    }
    if runs.count <= limit { return runs.dropLast().map(\.value) }
    let share = max(1, sorted.count / limit)
    var edges: [Double] = []
    var inBin = 0
    for (index, run) in runs.enumerated() where index < runs.count - 1 {
      if run.count >= share, inBin > 0 {
        edges.append(runs[index - 1].value)
        inBin = 0
      }
      inBin += run.count
      if inBin >= share {
        edges.append(run.value)
        inBin = 0
      }
    }
    return edges
  }

  /// Counts the cells of a column of the same kind by this profile's bins.
  package func histogram(of column: Column) -> [Int] {
    switch bins {
    case .edges(let edges):
      var counts = [Int](repeating: 0, count: edges.count + 2)
      let numbers = presentNumbers(of: column)
      for number in numbers { counts[lowerBound(edges, number)] += 1 }
      counts[edges.count + 1] = column.count - numbers.count
      return counts
    case .values(let values):
      var counts = [Int](repeating: 0, count: values.count + 2)
      let positions = Dictionary(
        values.enumerated().map { (ExactText($1), $0) }, uniquingKeysWith: { first, _ in first })
      for row in 0..<column.count {
        guard case .string(let text) = column[row] else {
          counts[values.count + 1] += 1
          continue
        }
        counts[positions[ExactText(text)] ?? values.count] += 1
      }
      return counts
    }
  }
}

/// The cells that are numbers: present and not NaN; true counts as 1, a time as its microseconds.
func presentNumbers(of column: Column) -> [Double] {
  var numbers: [Double] = []
  numbers.reserveCapacity(column.count)
  for row in 0..<column.count where column.isPresent(row) {
    switch column.values {
    case .double(let values): if !values[row].isNaN { numbers.append(values[row]) }
    case .int64(let values), .timestamp(let values): numbers.append(Double(values[row]))
    case .bool(let values): numbers.append(values[row] ? 1 : 0)
    case .string, .list: break
    }
  }
  return numbers
}

/// The first edge that is not below the value; the number of edges where all are.
private func lowerBound(_ edges: [Double], _ value: Double) -> Int {
  var low = 0
  var high = edges.count
  while low < high {
    let middle = (low + high) / 2
    if edges[middle] < value { low = middle + 1 } else { high = middle }
  }
  return low
}
