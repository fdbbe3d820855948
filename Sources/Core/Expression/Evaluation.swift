extension Expression {
  /// Evaluates over `count` rows: columns in, one column out; one row online and many offline are
  /// the same code.
  ///
  /// Total: it never fails. An unknown name, and an operation on types that `type(given:names:)`
  /// refuses, is null.
  /// - Null propagates, except through `coalesce`, `if` (a null condition takes the else value),
  ///   `is null`, and `and`/`or` (three-valued as in SQL: `false and null` is false).
  /// - `/` yields a double; division and modulo by zero are null; `%` has the sign of its left
  /// side, as in SQL.
  /// - Whole-number arithmetic beyond 64 bits is null: a column has one type, which must not
  /// depend on its other rows.
  /// - `log` of zero and less and `sqrt` of less than zero are null; `round` takes halves away
  /// from zero.
  /// - Every comparison with NaN is false, except `!=`; `min`, `max` and `clip` of a NaN are NaN.
  /// - Texts are equal where their UTF-8 bytes are, as in SQL.
  /// - Time parts are in UTC or the named zone; `weekday` is 0 on Monday and 6 on Sunday.
  ///
  /// The result has no name; it has the type that `type(given:names:)` says (double for a bare
  /// null).
  package func evaluate(count: Int, column: (String) -> Column?) -> Column {
    vector(count, column).column(rows: count)
  }

  private func vector(_ rows: Int, _ column: (String) -> Column?) -> Vector {
    switch self {
    case .literal(let literal): return Vector(literal)
    case .name(let name):
      guard let found = column(name), found.count == rows else { return .null }
      return Vector(found)
    case .unary(.negate, let operand): return negated(operand.vector(rows, column))
    case .unary(.not, let operand): return inverted(operand.vector(rows, column))
    case .binary(let sign, let left, let right):
      let a = left.vector(rows, column)
      let b = right.vector(rows, column)
      return switch sign {
      case .add, .subtract, .multiply, .divide, .modulo: arithmetic(sign, a, b, rows: rows)
      case .and: conjunction(a, b, rows: rows, of: false)
      case .or: conjunction(a, b, rows: rows, of: true)
      default: comparison(sign, a, b, rows: rows)
      }
    case .membership(let operand, let members):
      let operand = operand.vector(rows, column)
      return members.map { $0.vector(rows, column) }
        .map { comparison(.equal, operand, $0, rows: rows) }
        .reduce(Vector(.bool(false))) { conjunction($0, $1, rows: rows, of: true) }
    case .call(let name, let arguments):
      guard case .success(let function) = ExpressionFunction.find(name, arguments: arguments.count)
      else { return .null }
      return applied(function, to: arguments.map { $0.vector(rows, column) }, rows: rows)
    }
  }
}

private func applied(
  _ function: ExpressionFunction, to arguments: [Vector], rows: Int
) -> Vector {
  switch function {
  case .if: choice(arguments[0], arguments[1], arguments[2], rows: rows)
  case .coalesce: coalesced(arguments, rows: rows)
  case .isNull: nullTest(arguments[0], rows: rows)
  case .len: length(arguments[0])
  case .abs, .floor, .ceil, .round, .log, .exp, .sqrt: mathematics(function, arguments[0])
  case .min: arguments.dropFirst().reduce(arguments[0]) { extreme($0, $1, rows: rows, least: true) }
  case .max:
    arguments.dropFirst().reduce(arguments[0]) { extreme($0, $1, rows: rows, least: false) }
  case .clip:
    extreme(
      extreme(arguments[0], arguments[1], rows: rows, least: false), arguments[2], rows: rows,
      least: true)
  case .year, .quarter, .month, .day, .hour, .minute, .second, .weekday, .dayOfYear:
    timePart(function, arguments[0], zone: arguments.count == 2 ? arguments[1] : nil)
  }
}

// MARK: Logic

private func inverted(_ a: Vector) -> Vector {
  guard case .bool(let all) = a.values else { return Vector(nullOf: .bool) }
  return Vector(
    values: .bool(mapCells(all) { !$0 }), presence: a.presence, isConstant: a.isConstant)
}

/// `and` (`deciding` false) or `or` (`deciding` true): one deciding side decides, else a null side
/// makes null.
private func conjunction(_ a: Vector, _ b: Vector, rows: Int, of deciding: Bool) -> Vector {
  let a = a.widened(to: .bool)
  let b = b.widened(to: .bool)
  guard case .bool(let left) = a.values, case .bool(let right) = b.values else { return .null }
  let isConstant = a.isConstant && b.isConstant
  let rows = isConstant ? 1 : rows
  if a.presence == nil, b.presence == nil {
    let values =
      deciding
      ? combine(left, a.isConstant, right, b.isConstant) { $0 || $1 }
      : combine(left, a.isConstant, right, b.isConstant) { $0 && $1 }
    return Vector(values: .bool(values), presence: nil, isConstant: isConstant)
  }
  let leftNulls = a.presence(rows: rows)
  let rightNulls = b.presence(rows: rows)
  var values = [Bool](repeating: !deciding, count: rows)
  var presence = [UInt8](repeating: 0, count: rows)
  for row in 0..<rows {
    let leftIsNull = leftNulls.map { $0[row] != 0 } ?? false
    let rightIsNull = rightNulls.map { $0[row] != 0 } ?? false
    let leftDecides = !leftIsNull && left[a.isConstant ? 0 : row] == deciding
    let rightDecides = !rightIsNull && right[b.isConstant ? 0 : row] == deciding
    if leftDecides || rightDecides {
      values[row] = deciding
    } else if leftIsNull || rightIsNull {
      presence[row] = 1
    }
  }
  return Vector(values: .bool(values), presence: presence, isConstant: isConstant)
}

private func nullTest(_ a: Vector, rows: Int) -> Vector {
  if a.isConstant { return Vector(.bool(a.isNullEverywhere)) }
  guard let presence = a.presence else { return Vector(.bool(false)) }
  return Vector(values: .bool(mapCells(presence) { $0 != 0 }), presence: nil, isConstant: false)
}

// MARK: Choice

private func choice(_ condition: Vector, _ then: Vector, _ otherwise: Vector, rows: Int) -> Vector {
  guard let type = unified(then.values?.type, otherwise.values?.type) else {
    return then.values == nil && otherwise.values == nil ? .null : Vector(nullOf: .double)
  }
  let then = then.widened(to: type)
  let otherwise = otherwise.widened(to: type)
  let condition = condition.widened(to: .bool)
  guard case .bool(let all) = condition.values else { return .null }
  if condition.isConstant {
    return all[0] && !condition.isNullEverywhere ? then : otherwise
  }
  let taken =
    condition.presence.map { nulls in combine(all, false, nulls, false) { $0 && $1 == 0 } } ?? all
  return selected(taken, then, otherwise, rows: rows)
}

/// The cells of `a` where `taken`, else of `b`; both are of one type.
private func selected(_ taken: [Bool], _ a: Vector, _ b: Vector, rows: Int) -> Vector {
  let values: ColumnValues
  switch (a.values, b.values) {
  case (.bool(let x), .bool(let y)): values = .bool(pick(taken, x, a, y, b))
  case (.int64(let x), .int64(let y)): values = .int64(pick(taken, x, a, y, b))
  case (.double(let x), .double(let y)): values = .double(pick(taken, x, a, y, b))
  case (.string(let x), .string(let y)): values = .string(pick(taken, x, a, y, b))
  case (.timestamp(let x), .timestamp(let y)): values = .timestamp(pick(taken, x, a, y, b))
  case (.list(let x), .list(let y)): values = .list(pick(taken, x, a, y, b))
  default: return .null
  }
  var presence: [UInt8]?
  if a.presence != nil || b.presence != nil {
    let left = a.presence(rows: rows)
    let right = b.presence(rows: rows)
    markNull(&presence, rows: rows) { row in
      taken[row] ? left.map { $0[row] != 0 } ?? false : right.map { $0[row] != 0 } ?? false
    }
  }
  return Vector(values: values, presence: presence, isConstant: false)
}

@inline(__always)
private func pick<T>(_ taken: [Bool], _ x: [T], _ a: Vector, _ y: [T], _ b: Vector) -> [T] {
  var row = -1
  return mapCells(taken) { takesFirst in
    row += 1
    return takesFirst ? x[a.isConstant ? 0 : row] : y[b.isConstant ? 0 : row]
  }
}

private func pick(
  _ taken: [Bool], _ x: ListValues, _ a: Vector, _ y: ListValues, _ b: Vector
) -> ListValues {
  var picked = ListValues(of: x.type.scalar, length: x.length, reserving: taken.count)
  for row in taken.indices {
    let cell = taken[row] ? x[a.isConstant ? 0 : row] : y[b.isConstant ? 0 : row]
    // An empty cell of a fixed array is a null, and stays empty.
    _ = picked.append(cell)
  }
  return picked
}

/// How many elements each array has.
private func length(_ a: Vector) -> Vector {
  guard case .list(let lists) = a.values else { return Vector(nullOf: .int64) }
  return Vector(
    values: .int64((0..<lists.count).map { Int64(lists.range($0).count) }), presence: a.presence,
    isConstant: a.isConstant)
}

private func coalesced(_ arguments: [Vector], rows: Int) -> Vector {
  var type: ColumnType?
  for argument in arguments {
    guard let argumentType = argument.values?.type else { continue }
    guard let both = unified(type, argumentType) else { return Vector(nullOf: .double) }
    type = both
  }
  guard let type else { return .null }
  var result = arguments[0].widened(to: type)
  for argument in arguments.dropFirst() {
    if result.isNullEverywhere {
      result = argument.widened(to: type)
      continue
    }
    guard let presence = result.presence, !result.isConstant else { break }
    result = selected(
      mapCells(presence) { $0 == 0 }, result, argument.widened(to: type), rows: rows)
  }
  return result
}
