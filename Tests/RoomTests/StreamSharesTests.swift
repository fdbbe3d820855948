import Core
import Testing

/// Which warehouse has which records of a partition.
@Suite struct StreamSharesTests {
  /// a has 0..<100 and 200..<300, b what lies between; a has stored up to 230, b all of its own.
  private let shares = StreamShares(
    shares: [
      StreamShare(warehouse: "a", start: 0, end: 100),
      StreamShare(warehouse: "b", start: 100, end: 200),
      StreamShare(warehouse: "a", start: 200, end: 300),
    ], stored: ["a": 230, "b": 200])

  @Test func `a warehouse owes its own records beyond its position, and never another's`() {
    #expect(shares.debts(of: "a", position: 300) == [])
    #expect(shares.debts(of: "a", position: 230) == [230..<300])
    #expect(shares.debts(of: "a", position: 150) == [200..<300])
    #expect(shares.debts(of: "a", position: 40) == [40..<100, 200..<300])
    #expect(shares.debts(of: "a", position: nil) == [0..<100, 200..<300])
    #expect(shares.debts(of: "b", position: 100) == [100..<200])
    #expect(shares.debts(of: "c", position: nil) == [])
  }

  @Test func `what others have claimed and not stored is told with its offsets`() {
    #expect(
      shares.owed(toOthersThan: "b") == [StreamShare(warehouse: "a", start: 230, end: 300)])
    #expect(shares.owed(toOthersThan: "a") == [])
  }

  @Test func `an offset counts as stored when every warehouse has its records before it`() {
    for (offset, isStored) in [(50, true), (200, true), (230, true), (231, false), (301, false)] {
      #expect(shares.isStored(before: Int64(offset)) == isStored, "\(offset)")
    }
    #expect(!StreamShares().isStored(before: 1))
  }
}
