import Core
import Foundation

/// The native form of a new version beside the answers of its own library on the training set.
struct NativeComparison {
  /// Rows that are compared at most, evenly spread; all of a smaller set.
  static let maximumRows = 200_000
  /// Rows of one call.
  private static let batchRows = 4_096
  /// Rows that are also asked for one by one, as most requests do.
  private static let singleRows = 500

  let path: String
  let libraries: [String: any NativeLibrary]

  func form(_ rows: ColumnBatch, _ expected: [Double]) throws -> NativeForm {
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
    let header = try NativeFile(bytes).header
    var form = NativeForm(kind: header.kind, modelClass: header.class)
    if header.kind == "none" {
      form.refusal = header.why ?? "the model has no native form"
      return form
    }
    do {
      let version = try NativeEngine.Loaded(bytes, by: libraries)
      try compare(version, rows, expected, &form)
    } catch {
      form.refusal = "\(error)"
    }
    return form
  }

  private func compare(
    _ version: NativeEngine.Loaded, _ rows: ColumnBatch, _ expected: [Double],
    _ form: inout NativeForm
  ) throws {
    let step = max(1, (rows.count + Self.maximumRows - 1) / Self.maximumRows)
    let chosen = Array(stride(from: 0, to: rows.count, by: step))
    for from in stride(from: 0, to: chosen.count, by: Self.batchRows) {
      let part = Array(chosen[from..<min(from + Self.batchRows, chosen.count)])
      let matrix = try version.matrix(rows.gather(part))
      let found = try version.model.score(matrix)
      let tolerances = version.model.tolerances(matrix)
      for (place, row) in part.enumerated() {
        note(found[place], expected[row], tolerances?[place], row, &form)
        if form.comparedRows <= Self.singleRows {
          let single = try version.model.score(matrix.part(place..<place + 1))
          note(single[0], found[place], nil, row, &form)
          form.comparedRows -= 1
        }
        if form.refusal != nil { return }
      }
    }
  }

  private func note(
    _ found: Double, _ expected: Double, _ tolerance: Double?, _ row: Int, _ form: inout NativeForm
  ) {
    form.comparedRows += 1
    if found.bitPattern == expected.bitPattern || (found.isNaN && expected.isNaN) { return }
    let difference = abs(found - expected)
    form.largestDifference = max(form.largestDifference, difference)
    // Not the other way round: a difference may be no number.
    if let tolerance, difference <= tolerance { return }
    form.refusal =
      "in row \(row + 1) of the training set the native form answers \(found) and \(form.modelClass) \(expected)"
      + (tolerance.map { ", which is more than \($0) apart" } ?? "")
  }
}
