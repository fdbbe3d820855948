import Core
import Foundation

/// A shop with many customers at once: they browse, add to the cart, buy, return, lose interest and leave.
///
/// Deterministic: the same options give the same records, byte for byte. Time goes day by day; the records of a day come in order
/// of time, save those that are late on purpose.
struct ShopSimulator {
  struct Options {
    var seed: UInt64 = 1
    var customers = 2_000
    var start = Timestamp(microseconds: 0)
    /// Share of records that are broken.
    var bad = 0.001
    /// Share of records that arrive a day late.
    var late = 0.01
    /// Share of customers of the branch that sends a file a day instead of a stream.
    var branch = 0.03
    /// The day from which behaviour differs, and by how much (0 is not at all, 1 a lot).
    var driftDay: Int?
    var drift = 0.0
  }

  /// What one day brings, in order of arrival.
  struct Day {
    var number: Int
    var end: Timestamp
    var events: [String] = []
    var outcomes: [String] = []
    /// Rows of the branch's file under `branchHeader`; empty on days without one.
    var branchRows: [String] = []
  }

  static let branchHeader = "event_id,customer_id,kind,category,amount,at"
  /// A customer without a visit for this long has churned.
  static let horizonDays = 7

  private struct Customer {
    var visitsPerDay: Double
    var median: Double
    var taste: Int
    var isInBranch: Bool
    /// Days of fading interest left before the customer is gone; nil while content.
    var fading: Int?
    var lastVisitDay = -1
    /// Days at which the shop asked "will they stay?", to be answered `horizonDays` later.
    var checks: [Int] = []
  }

  private static let categories = ["books", "garden", "kitchen", "music", "sports", "toys"]
  private static let microsecondsPerDay: Int64 = 86_400_000_000

  private let options: Options
  private var random: SeededGenerator
  private var customers: [Customer] = []
  private var day = 0
  private var eventNumber = 0
  private var late: [String] = []
  /// Ids of another seed or another time are others.
  private let idPrefix: String

  init(_ options: Options) {
    self.options = options
    random = SeededGenerator(seed: options.seed)
    let firstDay = options.start.microseconds / Self.microsecondsPerDay
    idPrefix = "\(String(options.seed, radix: 36))-\(String(firstDay, radix: 36))-"
    customers = (0..<options.customers).map { _ in newCustomer() }
  }

  private mutating func newCustomer() -> Customer {
    Customer(
      visitsPerDay: 0.15 + random.exponential(mean: 0.45),
      median: random.logNormal(median: 24, spread: 0.5), taste: random.below(Self.categories.count),
      isInBranch: random.chance(options.branch))
  }

  private var shift: Double {
    guard let first = options.driftDay, day >= first else { return 0 }
    return options.drift
  }

  /// The next day's records.
  mutating func nextDay() -> Day {
    var timed: [(time: Int64, line: String)] = []
    var result = Day(number: day, end: dayStart(day + 1))
    result.events = late
    late = []
    for index in customers.indices { visit(index, &timed, &result) }
    for index in customers.indices { ask(index, &result) }
    for entry in timed.sorted(by: { ($0.time, $0.line) < ($1.time, $1.line) }) {
      if random.chance(options.late) {
        late.append(entry.line)
      } else {
        result.events.append(entry.line)
      }
    }
    day += 1
    return result
  }

  private func dayStart(_ day: Int) -> Timestamp {
    Timestamp(microseconds: options.start.microseconds + Int64(day) * Self.microsecondsPerDay)
  }

  /// The visits of one customer on this day.
  private mutating func visit(
    _ index: Int, _ timed: inout [(time: Int64, line: String)], _ result: inout Day
  ) {
    var customer = customers[index]
    // Interest fades over two weeks before a customer leaves: the signal a model can learn.
    if let left = customer.fading {
      if left == 0 {
        customer = newCustomerAfter(customer)
      } else {
        customer.fading = left - 1
      }
    } else if random.chance(0.004 + 0.01 * shift) {
      customer.fading = 14 + Self.horizonDays
    }
    let interest = customer.fading.map { max(0, Double($0 - Self.horizonDays)) / 14 } ?? 1
    let visits = random.poisson(customer.visitsPerDay * interest * (1 + 0.8 * shift))
    if visits > 0 { customer.lastVisitDay = day }
    customers[index] = customer
    for _ in 0..<visits {
      let start =
        dayStart(day).microseconds + Int64(random.unit() * 0.98 * Double(Self.microsecondsPerDay))
      browse(index, interest: interest, at: start, &timed, &result)
    }
  }

  /// Somebody else takes the place of a customer who has left, under the same number after a pause.
  private mutating func newCustomerAfter(_ old: Customer) -> Customer {
    var next = newCustomer()
    next.isInBranch = old.isInBranch
    next.checks = old.checks
    next.lastVisitDay = old.lastVisitDay
    return next
  }

  private mutating func browse(
    _ index: Int, interest: Double, at start: Int64, _ timed: inout [(time: Int64, line: String)],
    _ result: inout Day
  ) {
    var time = start
    func step(_ random: inout SeededGenerator) {
      time += Int64(1 + random.below(300)) * 1_000_000 + Int64(random.below(1_000_000))
    }
    let customer = customers[index]
    let category =
      random.chance(0.7 - 0.4 * shift) ? customer.taste : random.below(Self.categories.count)
    let price = random.logNormal(median: customer.median * (1 - 0.45 * shift), spread: 0.4)
    emit(index, "view", category, nil, time, &timed, &result)
    guard random.chance(0.35 + 0.25 * shift) else { return }
    step(&random)
    emit(index, "cart", category, price, time, &timed, &result)
    guard random.chance(0.25 + 0.35 * interest) else { return }
    step(&random)
    emit(index, "buy", category, price, time, &timed, &result)
    guard random.chance((0.06 + 0.2 * shift) * (2 - interest)) else { return }
    step(&random)
    emit(index, "return", category, price, time, &timed, &result)
  }

  private mutating func emit(
    _ index: Int, _ kind: String, _ category: Int, _ amount: Double?, _ time: Int64,
    _ timed: inout [(time: Int64, line: String)], _ result: inout Day
  ) {
    eventNumber += 1
    let id = "\(idPrefix)\(eventNumber)"
    let at = Timestamp(microseconds: time)
    let money = amount.map { String(format: "%.2f", $0) }
    let name = Self.categories[category]
    if customers[index].isInBranch {
      result.branchRows.append("\(id),\(index),\(kind),\(name),\(money ?? ""),\(at)")
      return
    }
    if random.chance(options.bad) {
      timed.append((time, broken(id, index, kind, at)))
      return
    }
    let members = money.map { ",\"amount\":\($0)" } ?? ""
    timed.append(
      (
        time,
        "{\"event_id\":\"\(id)\",\"customer_id\":\(index),\"kind\":\"\(kind)\",\"category\":\"\(name)\"\(members),\"at\":\"\(at)\"}"
      ))
  }

  /// One of the ways in which records are wrong in practice.
  private mutating func broken(
    _ id: String, _ index: Int, _ kind: String, _ at: Timestamp
  ) -> String {
    switch random.below(4) {
    case 0:
      "{\"event_id\":\"\(id)\",\"customer_id\":\"number \(index)\",\"kind\":\"\(kind)\",\"at\":\"\(at)\"}"
    case 1: "{\"event_id\":\"\(id)\",\"customer_id\":\(index),\"kind\":\"\(kind)\"}"
    case 2:
      "{\"event_id\":\"\(id)\",\"customer_id\":\(index),\"kind\":\"\(kind)\",\"amount\":-5.00,\"at\":\"\(at)\"}"
    default: "{\"event_id\":\"\(id)\",\"customer_id\":\(index),\"kind\":"
    }
  }

  /// Asks about a customer now and then, and answers what was asked `horizonDays` ago.
  private mutating func ask(_ index: Int, _ result: inout Day) {
    let horizon = Self.horizonDays
    if let first = customers[index].checks.first, first + horizon <= day {
      customers[index].checks.removeFirst()
      let churned = customers[index].lastVisitDay <= first
      let checked = dayStart(first + 1)
      let known = dayStart(first + 1 + horizon)
      result.outcomes.append(
        "{\"outcome_id\":\"\(idPrefix)\(index)-\(first)\",\"customer_id\":\(index),\"checked_at\":\"\(checked)\",\"churned\":\(churned),\"known_at\":\"\(known)\"}"
      )
    }
    if random.chance(0.08) { customers[index].checks.append(day) }
  }
}
