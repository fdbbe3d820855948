import Foundation

// MARK: Arithmetic

func negated(_ a: Vector) -> Vector {
  switch a.values {
  case .int64(let all):
    var presence = a.presence
    markNull(&presence, rows: all.count) { all[$0] == .min }
    return Vector(
      values: .int64(mapCells(all) { 0 &- $0 }), presence: presence, isConstant: a.isConstant)
  case .double(let all):
    return Vector(
      values: .double(mapCells(all) { -$0 }), presence: a.presence, isConstant: a.isConstant)
  default: return Vector(nullOf: .double)
  }
}

func arithmetic(_ sign: Expression.BinaryOperator, _ a: Vector, _ b: Vector, rows: Int) -> Vector {
  if sign != .divide {
    // A null of no type takes the type of the other side, so that the result's type is the static
    // one.
    if case .int64 = a.values, b.values == nil { return Vector(nullOf: .int64) }
    if case .int64 = b.values, a.values == nil { return Vector(nullOf: .int64) }
    if case .int64(let x) = a.values, case .int64(let y) = b.values {
      return wholeArithmetic(sign, x, a, y, b, rows: rows)
    }
  }
  guard let x = a.doubles, let y = b.doubles else { return Vector(nullOf: .double) }
  let isConstant = a.isConstant && b.isConstant
  var presence = merged(a, b, rows: rows)
  let values: [Double]
  switch sign {
  case .add: values = combine(x, a.isConstant, y, b.isConstant) { $0 + $1 }
  case .subtract: values = combine(x, a.isConstant, y, b.isConstant) { $0 - $1 }
  case .multiply: values = combine(x, a.isConstant, y, b.isConstant) { $0 * $1 }
  case .divide: values = combine(x, a.isConstant, y, b.isConstant) { $0 / $1 }
  case .modulo:
    values = combine(x, a.isConstant, y, b.isConstant) { $0.truncatingRemainder(dividingBy: $1) }
  default: return Vector(nullOf: .double)
  }
  if sign == .divide || sign == .modulo {
    if b.isConstant {
      if y[0] == 0 { return Vector(nullOf: .double) }
    } else {
      markNull(&presence, rows: values.count) { y[$0] == 0 }
    }
  }
  return Vector(values: .double(values), presence: presence, isConstant: isConstant)
}

private func wholeArithmetic(
  _ sign: Expression.BinaryOperator, _ x: [Int64], _ a: Vector, _ y: [Int64], _ b: Vector, rows: Int
) -> Vector {
  // Nulls hold any value, so a fault beside one is harmless.
  var faults = false
  let values: [Int64]
  switch sign {
  case .add:
    values = combine(x, a.isConstant, y, b.isConstant) { x, y in
      let (result, overflow) = x.addingReportingOverflow(y)
      faults = faults || overflow
      return result
    }
  case .subtract:
    values = combine(x, a.isConstant, y, b.isConstant) { x, y in
      let (result, overflow) = x.subtractingReportingOverflow(y)
      faults = faults || overflow
      return result
    }
  case .multiply:
    values = combine(x, a.isConstant, y, b.isConstant) { x, y in
      let (result, overflow) = x.multipliedReportingOverflow(by: y)
      faults = faults || overflow
      return result
    }
  default:
    values = combine(x, a.isConstant, y, b.isConstant) { x, y in
      faults = faults || y == 0
      return y == 0 || y == -1 ? 0 : x % y
    }
  }
  var presence = merged(a, b, rows: rows)
  if faults {
    markNull(&presence, rows: values.count) { row in
      let x = x[a.isConstant ? 0 : row]
      let y = y[b.isConstant ? 0 : row]
      return switch sign {
      case .add: x.addingReportingOverflow(y).overflow
      case .subtract: x.subtractingReportingOverflow(y).overflow
      case .multiply: x.multipliedReportingOverflow(by: y).overflow
      default: y == 0
      }
    }
  }
  return Vector(
    values: .int64(values), presence: presence, isConstant: a.isConstant && b.isConstant)
}

// MARK: Functions of numbers

func mathematics(_ function: ExpressionFunction, _ a: Vector) -> Vector {
  if case .int64(let all) = a.values {
    switch function {
    case .floor, .ceil, .round: return a
    case .abs:
      var presence = a.presence
      markNull(&presence, rows: all.count) { all[$0] == .min }
      return Vector(
        values: .int64(mapCells(all) { $0 < 0 ? 0 &- $0 : $0 }), presence: presence,
        isConstant: a.isConstant)
    default: break
    }
  }
  guard let all = a.doubles else { return Vector(nullOf: .double) }
  var presence = a.presence
  let values: [Double]
  switch function {
  case .abs: values = mapCells(all) { abs($0) }
  case .floor: values = mapCells(all) { $0.rounded(.down) }
  case .ceil: values = mapCells(all) { $0.rounded(.up) }
  case .round: values = mapCells(all) { $0.rounded(.toNearestOrAwayFromZero) }
  case .exp: values = mapCells(all) { exp($0) }
  case .log:
    values = mapCells(all) { log($0) }
    markNull(&presence, rows: all.count) { all[$0] <= 0 }
  case .sqrt:
    values = mapCells(all) { $0.squareRoot() }
    markNull(&presence, rows: all.count) { all[$0] < 0 }
  default: return Vector(nullOf: .double)
  }
  return Vector(values: .double(values), presence: presence, isConstant: a.isConstant)
}

/// The lesser or greater of two numbers; NaN where either is.
func extreme(_ a: Vector, _ b: Vector, rows: Int, least: Bool) -> Vector {
  guard let type = unified(a.values?.type, b.values?.type), type.isNumeric else {
    return Vector(nullOf: .double)
  }
  let a = a.widened(to: type)
  let b = b.widened(to: type)
  let values: ColumnValues
  switch (a.values, b.values) {
  case (.int64(let x), .int64(let y)):
    values = .int64(
      least
        ? combine(x, a.isConstant, y, b.isConstant) { $0 < $1 ? $0 : $1 }
        : combine(x, a.isConstant, y, b.isConstant) { $0 > $1 ? $0 : $1 })
  case (.double(let x), .double(let y)):
    values = .double(
      least
        ? combine(x, a.isConstant, y, b.isConstant) { $1.isNaN || $1 < $0 ? $1 : $0 }
        : combine(x, a.isConstant, y, b.isConstant) { $1.isNaN || $1 > $0 ? $1 : $0 })
  default: return Vector(nullOf: type)
  }
  return Vector(
    values: values, presence: merged(a, b, rows: rows), isConstant: a.isConstant && b.isConstant)
}

// MARK: Comparison

func comparison(_ sign: Expression.BinaryOperator, _ a: Vector, _ b: Vector, rows: Int) -> Vector {
  let values: [Bool]?
  switch (a.values, b.values) {
  case (.int64(let x), .int64(let y)), (.timestamp(let x), .timestamp(let y)):
    values = ordered(sign, x, a, y, b)
  case (.int64, .double), (.double, .int64), (.double, .double):
    values = a.doubles.flatMap { x in b.doubles.map { ordered(sign, x, a, $0, b) } }
  case (.string(let x), .string(let y)):
    values = equal(sign, x, a, y, b) { $0.hasSameBytes(as: $1) }
  case (.bool(let x), .bool(let y)): values = equal(sign, x, a, y, b) { $0 == $1 }
  default: values = nil
  }
  guard let values else { return Vector(nullOf: .bool) }
  return Vector(
    values: .bool(values), presence: merged(a, b, rows: rows),
    isConstant: a.isConstant && b.isConstant)
}

@inline(__always)
private func ordered<T: Comparable>(
  _ sign: Expression.BinaryOperator, _ x: [T], _ a: Vector, _ y: [T], _ b: Vector
) -> [Bool] {
  switch sign {
  case .less: combine(x, a.isConstant, y, b.isConstant) { $0 < $1 }
  case .lessOrEqual: combine(x, a.isConstant, y, b.isConstant) { $0 <= $1 }
  case .greater: combine(x, a.isConstant, y, b.isConstant) { $0 > $1 }
  case .greaterOrEqual: combine(x, a.isConstant, y, b.isConstant) { $0 >= $1 }
  case .notEqual: combine(x, a.isConstant, y, b.isConstant) { $0 != $1 }
  default: combine(x, a.isConstant, y, b.isConstant) { $0 == $1 }
  }
}

@inline(__always)
private func equal<T>(
  _ sign: Expression.BinaryOperator, _ x: [T], _ a: Vector, _ y: [T], _ b: Vector,
  _ areEqual: (T, T) -> Bool
) -> [Bool]? {
  switch sign {
  case .equal: combine(x, a.isConstant, y, b.isConstant) { areEqual($0, $1) }
  case .notEqual: combine(x, a.isConstant, y, b.isConstant) { !areEqual($0, $1) }
  default: nil
  }
}

// MARK: Time parts

func timePart(_ function: ExpressionFunction, _ a: Vector, zone: Vector?) -> Vector {
  guard case .timestamp(let all) = a.values else { return Vector(nullOf: .int64) }
  var local = all
  if let zone {
    guard case .string(let name) = zone.values, zone.isConstant, zone.presence == nil,
      let offsets = ZoneOffsets.of(name[0])
    else { return Vector(nullOf: .int64) }
    var reader = offsets.reader()
    local = mapCells(all) { reader.local($0) }
  }
  let values: [Int64]
  switch function {
  case .year: values = mapCells(local) { Timestamp.civil(fromDays: dayNumber($0)).year }
  case .month: values = mapCells(local) { Timestamp.civil(fromDays: dayNumber($0)).month }
  case .quarter:
    values = mapCells(local) { (Timestamp.civil(fromDays: dayNumber($0)).month + 2) / 3 }
  case .dayOfYear: values = mapCells(local) { dayOfYear(dayNumber($0)) }
  case .day: values = mapCells(local) { Timestamp.civil(fromDays: dayNumber($0)).day }
  // The epoch was a Thursday.
  case .weekday: values = mapCells(local) { (dayNumber($0) % 7 + 10) % 7 }
  case .hour: values = mapCells(local) { inDay($0) / 3_600_000_000 }
  case .second: values = mapCells(local) { inDay($0) / 1_000_000 % 60 }
  default: values = mapCells(local) { inDay($0) / 60_000_000 % 60 }
  }
  return Vector(values: .int64(values), presence: a.presence, isConstant: a.isConstant)
}

@inline(__always)
private func dayNumber(_ microseconds: Int64) -> Int64 {
  floorMultiple(microseconds, 86_400_000_000) / 86_400_000_000
}

/// From 1 on; `day` is a number of days since the epoch.
private func dayOfYear(_ day: Int64) -> Int64 {
  day - Timestamp.daysSinceEpoch(Timestamp.civil(fromDays: day).year, 1, 1) + 1
}

@inline(__always)
private func inDay(_ microseconds: Int64) -> Int64 {
  microseconds - floorMultiple(microseconds, 86_400_000_000)
}
