package journal

const childRole = "TBMSOCK_JOURNAL_TEST_CHILD"

func child(string) int { return 0 }
