"""The built-in backbones: networks over tokens that know no items."""
