import Core

/// What events give to the slots of a view: the one place where online and history take values from
/// columns.
package enum SlotValues {
  /// By slot, the value of every row; NaN where the row is outside the filter, null or NaN, so that
  /// it is not aggregated.
  ///
  /// A slot without a column counts events, and one of text, times or arrays counts values: each is worth
  /// 1.
  package static func of(
    _ slots: [ViewLayout.Slot], count: Int, column: (String) -> Column?
  ) -> [[Double]] {
    var filters: [Expression: [Bool]] = [:]
    return slots.map { slot in
      var values = numbers(slot.column, count: count, column: column)
      guard let filter = slot.filter else { return values }
      let passes =
        filters[filter] ?? passing(filter.evaluate(count: count, column: column), count: count)
      filters[filter] = passes
      for row in 0..<count where !passes[row] { values[row] = .nan }
      return values
    }
  }

  /// By sketch slot, the values of every row; cells that are not aggregated, because the row is outside the filter, null or NaN, are
  /// absent.
  package static func of(
    _ sketches: [ViewLayout.SketchSlot], count: Int, column: (String) -> Column?
  ) -> [Column] {
    sketches.map { sketch in
      guard var values = column(sketch.column), values.count == count else {
        var missing = Column(name: sketch.column, nulls: count, of: .double)
        missing.presence = [UInt8](repeating: Presence.absent.rawValue, count: count)
        return missing
      }
      let passes = sketch.filter.map {
        passing($0.evaluate(count: count, column: column), count: count)
      }
      let numbers: [Double]? = if case .double(let all) = values.values { all } else { nil }
      guard passes != nil || numbers?.contains(where: \.isNaN) == true else { return values }
      var presence = values.presence ?? [UInt8](repeating: 0, count: count)
      for row in 0..<count where passes?[row] == false || numbers?[row].isNaN == true {
        presence[row] = Presence.absent.rawValue
      }
      values.presence = presence
      return values
    }
  }

  private static func numbers(
    _ name: String?, count: Int, column: (String) -> Column?
  ) -> [Double] {
    guard let name else { return [Double](repeating: 1, count: count) }
    guard let found = column(name), found.count == count else {
      return [Double](repeating: .nan, count: count)
    }
    var values: [Double]
    switch found.values {
    case .double(let all): values = all
    case .int64(let all): values = all.map { Double($0) }
    case .bool(let all): values = all.map { $0 ? 1 : 0 }
    case .string, .timestamp, .list: values = [Double](repeating: 1, count: count)
    }
    if let presence = found.presence {
      for row in 0..<count where presence[row] != 0 { values[row] = .nan }
    }
    return values
  }

  private static func passing(_ verdict: Column, count: Int) -> [Bool] {
    guard case .bool(var passes) = verdict.values, passes.count == count else {
      return [Bool](repeating: false, count: count)
    }
    if let presence = verdict.presence {
      for row in 0..<count where presence[row] != 0 { passes[row] = false }
    }
    return passes
  }
}

extension Partial {
  /// The aggregate as a feature's value, of the feature's type: the same online and in history.
  package func value(of function: AggregateFunction, as type: ColumnType) -> Value {
    guard let number = value(of: function) else { return .null }
    guard type == .int64 else { return .double(number) }
    guard let whole = Int64(exactly: number.rounded()) else { return .null }
    return .int64(whole)
  }
}
