/// Turns the text of an expression into states, by recursive descent.
struct PatternCompiler {
  private indirect enum Node {
    case empty
    case set(PatternClass)
    case start, end
    case sequence([Node])
    case choice([Node])
    case repeated(Node, Int, Int?)
  }

  private static let maximumDepth = 64
  private static let maximumCharacters = 1_024

  private let scalars: [Unicode.Scalar]
  private var position = 0
  private var states: [PatternState] = []
  /// Nodes that were unfolded: repetitions of nothing make no states, but take time.
  private var unfolded = 0

  static func compile(_ text: String) throws(Pattern.Fault) -> [PatternState] {
    var compiler = PatternCompiler(scalars: Array(text.unicodeScalars))
    guard compiler.scalars.count <= maximumCharacters else {
      throw Pattern.Fault(
        message: "it is longer than \(maximumCharacters) characters", offset: maximumCharacters)
    }
    let node = try compiler.choice(depth: 0)
    if compiler.position < compiler.scalars.count { throw compiler.fault("a ')' without its '('") }
    try compiler.emit(node)
    compiler.states.append(.accept)
    return compiler.states
  }

  private init(scalars: [Unicode.Scalar]) { self.scalars = scalars }

  private func fault(_ message: String, at offset: Int? = nil) -> Pattern.Fault {
    Pattern.Fault(message: message, offset: offset ?? position)
  }

  private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard current == scalar else { return false }
    position += 1
    return true
  }

  // MARK: Reading

  private mutating func choice(depth: Int) throws(Pattern.Fault) -> Node {
    guard depth < Self.maximumDepth else {
      throw fault("groups are nested deeper than \(Self.maximumDepth) levels")
    }
    var branches = [try sequence(depth)]
    while take("|") { branches.append(try sequence(depth)) }
    return branches.count == 1 ? branches[0] : .choice(branches)
  }

  private mutating func sequence(_ depth: Int) throws(Pattern.Fault) -> Node {
    var items: [Node] = []
    while let scalar = current, scalar != "|", scalar != ")" {
      let item = try atom(depth)
      items.append(try quantified(item))
    }
    return items.isEmpty ? .empty : .sequence(items)
  }

  private mutating func atom(_ depth: Int) throws(Pattern.Fault) -> Node {
    let start = position
    guard let scalar = current else { return .empty }
    position += 1
    switch scalar {
    case "^": return .start
    case "$": return .end
    case ".": return .set(PatternClass(ranges: [10...10], isNegated: true))
    case "[": return .set(try characterClass(from: start))
    case "(":
      if take("?"), !take(":") {
        throw fault("look-around, named groups and flags are not available", at: start)
      }
      let node = try choice(depth: depth + 1)
      guard take(")") else { throw fault("this '(' is not closed", at: start) }
      return node
    case "*", "+", "?", "{": throw fault("there is nothing to repeat before '\(scalar)'", at: start)
    case "\\": return .set(try escape(from: start))
    default: return .set(PatternClass(ranges: [scalar.value...scalar.value]))
    }
  }

  private mutating func quantified(_ item: Node) throws(Pattern.Fault) -> Node {
    let start = position
    let node: Node
    if take("*") {
      node = .repeated(item, 0, nil)
    } else if take("+") {
      node = .repeated(item, 1, nil)
    } else if take("?") {
      node = .repeated(item, 0, 1)
    } else if take("{") {
      let (least, most) = try counts(from: start)
      node = .repeated(item, least, most)
    } else {
      return item
    }
    if let next = current, "*+?{".unicodeScalars.contains(next) {
      throw fault("a repetition cannot be repeated or made lazy; put it in a group")
    }
    return node
  }

  private mutating func counts(from start: Int) throws(Pattern.Fault) -> (Int, Int?) {
    guard let least = number() else {
      throw fault("'{' needs a count, as in {2,5}; write \\{ for the character", at: start)
    }
    var most: Int? = least
    if take(",") { most = number() }
    guard take("}") else { throw fault("this '{' is not closed", at: start) }
    if let most, most < least { throw fault("the greatest count is below the least", at: start) }
    guard max(least, most ?? 0) <= Pattern.maximumStates else {
      throw fault("a count is at most \(Pattern.maximumStates)", at: start)
    }
    return (least, most)
  }

  private mutating func number() -> Int? {
    var digits = ""
    while let scalar = current, ("0"..."9").contains(scalar), digits.utf8.count < 6 {
      digits.unicodeScalars.append(scalar)
      position += 1
    }
    return Int(digits)
  }

  private mutating func escape(from start: Int) throws(Pattern.Fault) -> PatternClass {
    guard let scalar = current else { throw fault("a '\\' at the end", at: start) }
    position += 1
    switch scalar {
    case "d": return .digits
    case "D": return .digits.negated
    case "w": return .words
    case "W": return .words.negated
    case "s": return .blanks
    case "S": return .blanks.negated
    case "n": return PatternClass(ranges: [10...10])
    case "r": return PatternClass(ranges: [13...13])
    case "t": return PatternClass(ranges: [9...9])
    case "1"..."9": throw fault("back references are not available", at: start)
    case let scalar where scalar.isASCII && scalar.properties.isAlphabetic || scalar == "0":
      throw fault("the escape \\\(scalar) is not known", at: start)
    default: return PatternClass(ranges: [scalar.value...scalar.value])
    }
  }

  private mutating func characterClass(from start: Int) throws(Pattern.Fault) -> PatternClass {
    var set = PatternClass(ranges: [])
    set.isNegated = take("^")
    var isFirst = true
    while true {
      guard let scalar = current else { throw fault("this '[' is not closed", at: start) }
      if scalar == "]", !isFirst {
        position += 1
        return set
      }
      isFirst = false
      let item = try classItem()
      guard current == "-", position + 1 < scalars.count, scalars[position + 1] != "]" else {
        set.ranges += item.ranges
        continue
      }
      position += 1
      let other = try classItem()
      guard let low = item.single, let high = other.single, low <= high else {
        throw fault("a range in brackets goes from a character to a later one", at: start)
      }
      set.ranges.append(low...high)
    }
  }

  private mutating func classItem() throws(Pattern.Fault) -> PatternClass {
    let start = position
    guard let scalar = current else { throw fault("this '[' is not closed", at: start) }
    position += 1
    guard scalar == "\\" else { return PatternClass(ranges: [scalar.value...scalar.value]) }
    let item = try escape(from: start)
    return item.isNegated ? PatternClass(ranges: item.complement) : item
  }

  // MARK: Writing states

  private mutating func add(_ state: PatternState) throws(Pattern.Fault) {
    guard states.count < Pattern.maximumStates else {
      throw fault(
        "its repetitions unfold to more than \(Pattern.maximumStates) states; use smaller counts",
        at: 0)
    }
    states.append(state)
  }

  /// Every state's successor is the one after it, but for splits.
  private mutating func emit(_ node: Node) throws(Pattern.Fault) {
    unfolded += 1
    guard unfolded <= Pattern.maximumStates * 10 else {
      throw fault("its repetitions unfold too far; use smaller counts", at: 0)
    }
    switch node {
    case .empty: break
    case .set(let set): try add(.scalars(set, next: states.count + 1))
    case .start: try add(.start(next: states.count + 1))
    case .end: try add(.end(next: states.count + 1))
    case .sequence(let items): for item in items { try emit(item) }
    case .choice(let branches): try emit(choice: branches[...])
    case .repeated(let item, let least, let most):
      for _ in 0..<least { try emit(item) }
      if let most {
        try emit(optional: item, most - least)
      } else {
        try emit(any: item)
      }
    }
  }

  private mutating func emit(choice branches: ArraySlice<Node>) throws(Pattern.Fault) {
    guard let first = branches.first else { return }
    guard branches.count > 1 else { return try emit(first) }
    let split = states.count
    try add(.split(split + 1, 0))
    try emit(first)
    let jump = states.count
    try add(.split(0, 0))
    states[split] = .split(split + 1, states.count)
    try emit(choice: branches.dropFirst())
    states[jump] = .split(states.count, states.count)
  }

  private mutating func emit(any item: Node) throws(Pattern.Fault) {
    let split = states.count
    try add(.split(split + 1, 0))
    try emit(item)
    try add(.split(split, split))
    states[split] = .split(split + 1, states.count)
  }

  private mutating func emit(optional item: Node, _ times: Int) throws(Pattern.Fault) {
    var splits: [Int] = []
    for _ in 0..<times {
      splits.append(states.count)
      try add(.split(states.count + 1, 0))
      try emit(item)
    }
    for split in splits { states[split] = .split(split + 1, states.count) }
  }
}

extension PatternClass {
  static let digits = PatternClass(ranges: [0x30...0x39])
  static let words = PatternClass(ranges: [0x30...0x39, 0x41...0x5A, 0x5F...0x5F, 0x61...0x7A])
  static let blanks = PatternClass(ranges: [0x09...0x0D, 0x20...0x20])

  var negated: PatternClass { PatternClass(ranges: ranges, isNegated: !isNegated) }

  /// The scalar of a class that has only one.
  var single: UInt32? {
    guard !isNegated, ranges.count == 1, ranges[0].count == 1 else { return nil }
    return ranges[0].lowerBound
  }

  /// Everything that is in none of the ranges, which are sorted.
  var complement: [ClosedRange<UInt32>] {
    var gaps: [ClosedRange<UInt32>] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { gaps.append(next...(range.lowerBound - 1)) }
      next = range.upperBound + 1
    }
    gaps.append(next...0x10FFFF)
    return gaps
  }
}
